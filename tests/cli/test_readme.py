"""The README and docs/ name what there is: commands, keys, numbers, and files that fit each other."""

import json
import re

import pages
from muster import cmei, config

from tools.board.board import AIR
from tools.cli import main as cli
from tools.cloud import read_devices

README = pages.text("README.md")


def names_in_table(header):
    rows = README[README.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_every_command_is_in_the_readme():
    assert set(names_in_table("| command |")) == set(cli.main.list_commands(None))


def test_every_key_of_the_configuration_is_in_the_readme():
    assert set(names_in_table("| key |")) == {key[0] for key in config._KEYS}


def test_the_example_number_is_the_one_that_is_made():
    made = cmei.make("11123456", 1)
    assert f"'{made}'" in pages.text("docs/repl.md")
    cmei.check(made)


def test_the_files_of_without_a_board_fit_each_other_and_the_virtual_board(tmp_path):
    known = json.loads(pages.block_after("README.md", "This `config.json`, whose Wi-Fi"))
    config.check(known)
    assert known["wifi"] == [{key: AIR[0][key] for key in ("ssid", "key")}]
    file = tmp_path / "devices.csv"
    file.write_text(pages.block_after("README.md", "this `devices.csv`:"))
    devices = read_devices(file)
    assert {device.product_id for device in devices} == {known["productId"]}
    assert {device.product_key for device in devices} == {known["productKey"]}
    section = README[README.index("### Without a board") :].split("\n### ")[0]
    assert [device.device_no for device in devices] == re.findall("AI-000[12]", section)[1:3]
    assert known["deviceNo"] == devices[0].device_no and f"`{devices[1].device_no}`" in section
