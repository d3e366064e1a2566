"""The README and docs/ promise names, files and what is printed; these are they."""

import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
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


# What cannot be typed here, and why.
NOT_HERE = {
    "python3 -m tools demo": "tests/cli/test_demo.py runs it",
    "python3 -m tools test": "it is what runs this",
    "python3 -m tools flash --board ESP32_GENERIC_S3 --port /dev/ttyACM0": "a real port, and firmware",
    "python3 -m tools deploy": "it finds the board that is plugged in",
    "python3 -m tools repl": "it finds the board that is plugged in, and wants a terminal",
    "$ python3 -m tools doctor": "it finds the board that is plugged in; test_doctor.py runs it",
    "--firmware ": "goes on from the line before",
    "-> python3": "what doctor says",
}


def typed_in_the_readme():
    """Each command of the README's blocks, without the comment behind it."""
    lines = re.findall(r"^ {4,}((?:\$ |-> )?(?:python3 -m tools|curl|--firmware) .*)$", README, re.MULTILINE)
    return [re.sub(r"\s+#.*", "", line) for line in lines]


@pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")
def test_what_is_typed_without_a_board_does_what_it_says(tmp_path):
    by_hand(tmp_path)
    (tmp_path / "config.json").write_text(block_after("This `config.json`, whose Wi-Fi"))
    typed = [line for line in typed_in_the_readme() if not line.startswith(tuple(NOT_HERE))]
    assert [re.search(r"tools (\w+)|curl", line)[0] for line in typed] == [
        *("tools cloud", "tools board", "tools flash"),
        *("curl", "curl"),
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mine = {
        "/tmp/": f"{tmp_path}/",
        "8443": str(port),
        "python3": f"exec {sys.executable}",
        "-m tools": "-m tools.cli",
    }
    for name in ("config.json", "devices.csv"):
        (tmp_path / name).write_text((tmp_path / name).read_text().replace("8443", str(port)))

    def shell(line):
        for here, there in mine.items():
            line = line.replace(here, there)
        return {"args": line, "shell": True, "cwd": tmp_path, "text": True}

    cloud, board, flash, worse, better = map(shell, typed)
    started = [
        subprocess.Popen(**how, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for how in (cloud, board)
    ]
    try:
        for process, said in zip(started, ("Ctrl-C", "Ctrl-C"), strict=True):
            while said not in (line := process.stdout.readline()):
                assert line, process.wait()
        for _ in range(2):
            done = subprocess.run(**flash, capture_output=True, timeout=100)
            assert done.returncode == 0, done.stdout + done.stderr
        if shutil.which("curl"):
            for line in (worse, better):
                done = subprocess.run(**line, capture_output=True, timeout=60)
                assert done.returncode == 0, done.stderr
        ca = ssl.create_default_context(cafile=tmp_path / "cloud/ca.pem")
        with urllib.request.urlopen(f"https://localhost:{port}/state", context=ca) as answer:
            state = json.load(answer)
        fetched = [call for call in state["calls"] if call["path"].endswith("/secret/info")]
        assert len(fetched) == 1  # as the README says of the second time
    finally:
        for process in started:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
