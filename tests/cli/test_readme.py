"""The README and docs/ promise names, files and what is printed; these are they."""

import json
import re
import shutil
import subprocess
import sys
from textwrap import dedent

import pytest
from muster import cmei, config

from tools.board import Board
from tools.board.board import AIR
from tools.cli import main as cli
from tools.cli.cloud import keep_accounts
from tools.cloud import Cloud, read_devices
from tools.common.littlefs import build
from tools.common.paths import ROOT
from tools.common.vm import find_micropython
from tools.factory.library import library
from tools.factory.product import BLOCKS, board_files
from tools.fleet import profile

README = (ROOT / "README.md").read_text()
BOARD, REPL = ((ROOT / "docs" / name).read_text() for name in ("board.md", "repl.md"))


def names_in_table(header):
    rows = README[README.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_every_command_is_in_the_readme():
    assert set(names_in_table("| command |")) == set(cli.main.list_commands(None))


def test_every_key_of_the_configuration_is_in_the_readme():
    assert set(names_in_table("| key |")) == {key[0] for key in config._KEYS}


def test_the_example_number_is_the_one_that_is_made():
    made = cmei.make("11123456", 1)
    assert f"'{made}'" in REPL
    cmei.check(made)


@pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")
def test_what_it_says_of_mpremote_puts_the_whole_product_onto_a_board(tmp_path):
    tree = tmp_path / "tree"
    for folder in ("lib", "firmware/roots"):
        shutil.copytree(ROOT / folder, tree / folder)
    for name in ("boot.py", "main.py"):
        shutil.copy(ROOT / name, tree)
    (tree / "config.json").write_text('{"clouds": ["coze", "baidu", "feishu"]}')
    (tree / "lib/muster/__pycache__").mkdir(exist_ok=True)

    clean, copy = re.findall(
        r"^    (find lib .*)\n    \.venv/bin/mpremote connect \S+ (fs cp .*)$", BOARD, re.MULTILINE
    )[0]
    subprocess.run(clean, shell=True, cwd=tree, check=True)
    with Board(tmp_path / "board", build({}, BLOCKS, 0)) as board:
        board.wait_for(">>> ")
        mpremote = [sys.executable, "-m", "mpremote", "connect", board.port, *copy.split()]
        done = subprocess.run(mpremote, cwd=tree, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        found = board.files()
    product = board_files(tree / "config.json", [tree / "firmware/roots"], tree, source=True)
    # All of lib is copied, what this configuration does not ask for as well.
    assert found == product | {
        f"/lib/{path.relative_to(tree / 'lib')}": path.read_bytes() for path in library(root=tree)
    }


def block_after(text):
    return dedent(README[README.index(text) :].split("\n\n")[1]) + "\n"


def by_hand(folder):
    """The files of the section: config.json's content, and the devices."""
    known = json.loads(block_after("This `config.json`, whose Wi-Fi"))
    file = folder / "devices.csv"
    file.write_text(block_after("this `devices.csv`:"))
    return known, read_devices(file)


def test_the_files_of_without_a_board_fit_each_other_and_the_virtual_board(tmp_path):
    known, devices = by_hand(tmp_path)
    config.check(known)
    assert known["wifi"] == [{key: AIR[0][key] for key in ("ssid", "key")}]
    assert {device.product_id for device in devices} == {known["productId"]}
    assert {device.product_key for device in devices} == {known["productKey"]}
    section = README[README.index("### Without a board") :].split("\n### ")[0]
    assert [device.device_no for device in devices] == re.findall("AI-000[12]", section)[1:3]
    assert known["deviceNo"] == devices[0].device_no and f"`{devices[1].device_no}`" in section


def typed_at_the_repl():
    """What the section types, whether by paste mode, and the lines that it says come of it."""
    typed = []
    for block in re.findall("^    (?:>>>|===) (?:.|\n    )*", REPL, re.MULTILINE):
        for line in dedent(block).splitlines():
            mark, _, rest = line.partition(" ")
            if mark in (">>>", "==="):
                typed.append([mark == "===", rest, []])
            else:
                typed[-1][2].append(line)
    return typed


@pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")
def test_what_it_types_at_the_repl_does_what_it_says(tmp_path):
    known, devices = by_hand(tmp_path)
    with Cloud(devices, data=tmp_path / "cloud") as cloud:
        maker, tokens = keep_accounts(cloud)
        command = re.search("^    (printf .*)$", REPL, re.MULTILINE)[1]
        command = command.replace("/tmp/cloud/maker.toml", str(maker))
        subprocess.run(command, shell=True, cwd=tmp_path, check=True)
        files = board_files({**known, "baseUrl": cloud.url, "ntp": []}, [cloud.ca_pem])
        files |= {"/key.pem": (tmp_path / "key.pem").read_bytes(), "/question.wav": bytes(32000)}
        coze = profile.load("coze", maker)
        real = {name: coze[name] for name in ("client_id", "key_id")}
        real |= {"https://localhost:8443": cloud.url, "AI token": tokens.read_text().split(",")[-1].strip()}
        with Board(tmp_path / "board", build(files, BLOCKS, 0)) as board:
            board.wait_for("the next report is due")
            board.write(b"\x03")
            board.wait_for(">>> ")
            for pasted, text, expected in typed_at_the_repl():
                for name, value in real.items():
                    text = text.replace(f'"{name}"', f'"{value}"')
                line = text.encode()
                board.write(b"\x05" + line + b"\x04" if pasted else line + b"\r")
                said = board.wait_for(re.compile("(?s).*?>>> "))[0]
                assert "Traceback" not in said, said
                for piece in re.split(", |…|[{}]", "\n".join(expected)):
                    # Which device, and when, is another each time.
                    like = re.sub("[0-9a-f]{16}|[0-9]+", "[0-9a-f]+", re.escape(piece))
                    assert re.search(like, said), (piece, said)
