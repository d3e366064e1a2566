"""The README promises names; these are they."""

import re
import shutil
import subprocess
import sys

import pytest
from muster import cmei, config

from tools import cli
from tools.__main__ import ROOT
from tools.board import Board, find_micropython
from tools.factory.littlefs import build
from tools.factory.product import BLOCKS, board_files

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


@pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")
def test_what_it_says_of_mpremote_puts_the_whole_product_onto_a_board(tmp_path):
    tree = tmp_path / "tree"
    for folder in ("lib", "firmware/roots"):
        shutil.copytree(ROOT / folder, tree / folder)
    for name in ("boot.py", "main.py"):
        shutil.copy(ROOT / name, tree)
    (tree / "config.json").write_text('{"clouds": ["coze", "baidu", "feishu"]}')
    (tree / "lib/muster/__pycache__").mkdir(exist_ok=True)

    clean, copy = re.findall(r"^    (find lib .*)\n    mpremote (fs cp .*)$", README, re.MULTILINE)[0]
    subprocess.run(clean, shell=True, cwd=tree, check=True)
    with Board(tmp_path / "board", build({}, BLOCKS, 0)) as board:
        board.wait_for(">>> ")
        mpremote = [sys.executable, "-m", "mpremote", "connect", board.port, *copy.split()]
        done = subprocess.run(mpremote, cwd=tree, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        found = board.files()
    assert found == board_files(tree / "config.json", [tree / "firmware/roots"], tree, source=True)
