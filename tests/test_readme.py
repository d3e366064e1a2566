"""The README promises names; these are they."""

import re

from muster import cmei, config

from tools import cli
from tools.__main__ import ROOT

README = (ROOT / "README.md").read_text()


def names_in_table(header):
    rows = README[README.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_every_command_is_in_the_readme():
    assert set(names_in_table("| command |")) == set(cli.main.list_commands(None))


def test_every_key_of_the_configuration_is_in_the_readme():
    assert set(names_in_table("| key |")) == {key[0] for key in config._KEYS}


def test_the_example_number_is_the_one_that_is_made():
    made = cmei.make("11123456", 1)
    assert f"'{made}'" in README
    cmei.check(made)
