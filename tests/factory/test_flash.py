"""image and flash, with real esptool and virtual boards from the bare chip on."""

import contextlib
import csv
import functools
import json
import os
import re
import select
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import esptool.cmds
import pytest
from click.testing import CliRunner
from esptool import FatalError
from esptool.targets import CHIP_DEFS

from tools.board import Board
from tools.board.firmware import PARTITIONS, firmware, partition_table
from tools.cli.flash import table
from tools.cli.main import main
from tools.cloud import Cloud, Device
from tools.common import boards, littlefs
from tools.common.vm import find_micropython
from tools.factory import chip as chips
from tools.factory import ports, product, rack
from tools.factory.keys import key_files, make_key
from tools.factory.ledger import Ledger
from tools.factory.release import read

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="needs MicroPython")

TYPES = boards.board_types()
PRODUCT = {"productId": "1234567890123", "productKey": "k3yk3yk3y", "firmwareVersion": "0.0.1"}
IDENTITIES = [{"deviceNo": f"AI-{n:04}", "cmei": f"11123456{n:06}0"} for n in range(1, 10)]


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    """The clouds in a box, their CA as a file, and a configuration for them."""
    folder = tmp_path_factory.mktemp("platform")
    devices = [
        Device(PRODUCT["productId"], PRODUCT["productKey"], "SN", row["deviceNo"]) for row in IDENTITIES
    ]
    with Cloud(devices) as cloud:
        (folder / "ca.pem").write_bytes(cloud.ca_pem.read_bytes())
        config = {**PRODUCT, "baseUrl": cloud.url, "ntp": [], **IDENTITIES[0]}
        config["wifi"] = [{"ssid": "muster-lab", "key": "password"}]
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        with (folder / "batch.csv").open("w", newline="") as f:
            writer = csv.DictWriter(f, ["deviceNo", "cmei"])
            writer.writeheader()
            writer.writerows(IDENTITIES)
        yield cloud, folder


def chip(folder, kind="ESP32_GENERIC", number=1, bare=True):
    mac = bytes.fromhex("240ac4000000")[:5] + bytes([number])
    return Board(folder, kind=kind, flash=TYPES[kind].flash[0], mac=mac, bare=bare)


def arguments(platform, kind, *ports, firmware=None):
    _, folder = platform
    given = ["flash", "--board", kind, "--config", str(folder / "config.json")]
    given += ["--roots", str(folder / "ca.pem")]
    if firmware:
        given += ["--firmware", str(firmware)]
    return given + [word for port in ports for word in ("--port", port)]


def run(*given, columns=300):
    done = CliRunner(env={"COLUMNS": str(columns)}).invoke(main, list(given))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.fixture
def firmware_file(tmp_path):
    def make(kind, size=60_000):
        path = tmp_path / f"{kind}.bin"
        path.write_bytes(firmware(TYPES[kind], app=os.urandom(size)))
        return path

    return make


def test_a_board_begins_with_a_release(tmp_path, platform, firmware_file):
    cloud, folder = platform
    config = json.loads((folder / "config.json").read_text())
    config["updates"] = {"url": f"{cloud.url}/release/manifest.jwt"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    public = make_key(tmp_path / "key.pem")
    place = ["--config", str(tmp_path / "config.json"), "--keys", str(public)]
    making = ["release", *place, "--roots", str(folder / "ca.pem"), "--version", "0.0.7", "--build", "7"]
    status, said = run(*making, "--key", str(tmp_path / "key.pem"), "-o", str(tmp_path / "out"))
    assert status == 0, said
    with chip(tmp_path / "board") as board:
        given = [
            "flash",
            "--board",
            "ESP32_GENERIC",
            "--port",
            board.port,
            "--release",
            str(tmp_path / "out"),
        ]
        status, said = run(*given, *place, "--firmware", str(firmware_file("ESP32_GENERIC")))
        assert status == 0 and "enrolled" in said, said
        board.cut_power()
        files = board.files()
    released, wrong = read(tmp_path / "out", key_files([public]), config["productId"])
    assert not wrong and files["/config.json"] == (tmp_path / "config.json").read_bytes()
    assert {path: data for path, data in files.items() if path in released.files} == released.files
    assert json.loads(files["/build.json"]) == {"version": "0.0.7", "build": 7}


KINDS = ["ESP32_GENERIC", "ESP32_GENERIC_S3", "ESP32_GENERIC_C3", "ESP32_GENERIC_C6"]


@pytest.mark.parametrize("kind", KINDS)
def test_from_a_bare_chip_to_a_device_that_has_enrolled(tmp_path, platform, firmware_file, kind):
    file = firmware_file(kind)
    with chip(tmp_path / "board", kind) as board:
        given = arguments(platform, kind, board.port, firmware=file)
        # A bare chip is known by itself.
        status, said = run(*(word for word in given if word not in ("--board", kind)))
        assert status == 0 and "enrolled" in said, said
        board.wait_for("reported")  # by then the secret is on flash
        board.cut_power()
        flash = (tmp_path / "board/flash.bin").read_bytes()
        files = board.files()
    assert flash[TYPES[kind].offset :].startswith(file.read_bytes())
    assert files["/config.json"] == (platform[1] / "config.json").read_bytes()
    assert any(path.startswith("/state/credentials") for path in files)
    assert CHIP_DEFS[TYPES[kind].chip].CHIP_NAME.startswith("ESP32")


def test_the_flash_then_holds_what_the_image_has_byte_for_byte(tmp_path, platform, firmware_file):
    _, folder = platform
    kind, image = "ESP32_GENERIC_S3", tmp_path / "out.img"
    program = tmp_path / "program.py"
    program.write_text("from muster.clouds import feishu\n")
    given = ["--config", str(folder / "config.json"), "--roots", str(folder / "ca.pem")]
    main = ["--main", str(program)]
    status, said = run(
        "image", *given, *main, "--board", kind, "--firmware", str(firmware_file(kind)), "-o", str(image)
    )
    assert status == 0 and "ESP32_GENERIC_S3 with 8 MB of flash" in said, said
    assert "/lib/muster/agent.mpy" in said and "KB left" in said
    with chip(tmp_path / "board", kind) as board:
        status, said = run(
            *arguments(platform, kind, board.port, firmware=firmware_file(kind)),
            *main,
            "--erase",
            "--no-wait",
        )
        assert status == 0 and "flashed" in said, said
        board.cut_power()
        files = board.files()
        wrote = dict(littlefs.used(image.read_bytes()))
        flash = (tmp_path / "board/flash.bin").read_bytes()
    assert files["/main.py"] == program.read_bytes() and "/lib/muster/clouds/feishu.mpy" in files
    for offset, content in wrote.items():
        # The board has booted since, and has its records in blocks of its own.
        at = 0x200000 + offset
        same = [
            i
            for i in range(0, len(content), littlefs.BLOCK)
            if flash[at + i : at + i + littlefs.BLOCK] == content[i : i + littlefs.BLOCK]
        ]
        assert len(same) >= len(content) // littlefs.BLOCK - 4
    assert sum(map(len, wrote.values())) < len(image.read_bytes()) / 8


def secrets_in(board):
    return {path: data for path, data in board.files().items() if path.startswith("/state/credentials")}


def test_flashed_again_it_keeps_its_secret_and_reports_at_once(tmp_path, platform):
    cloud, _ = platform
    before = len(cloud.calls("/v2/customer/device/secret/info"))
    with chip(tmp_path / "board", bare=False) as board:
        assert run(*arguments(platform, "ESP32_GENERIC", board.port))[0] == 0
        board.wait_for("reported")
        kept = secrets_in(board)
        status, said = run(*arguments(platform, "ESP32_GENERIC", board.port))
        assert status == 0 and "enrolled" in said, said
        board.wait_for("reported; the next report is due")
        assert kept and kept == secrets_in(board)
        board.reset()
        board.wait_for("muster: the next report is due")  # a reset is no reason to report
    assert len(cloud.calls("/v2/customer/device/secret/info")) == before + 1


@contextlib.contextmanager
def started(*given):
    """The command as a process that Ctrl-C reaches, and the processes that it starts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.cli", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_until(so, process):
    until = time.monotonic() + 60
    while not so():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.005)


def test_flashing_that_was_cut_short_does_not_lose_the_secret(tmp_path, platform, firmware_file, state_home):
    cloud, _ = platform
    kept = state_home / "muster" / "24-0a-c4-00-00-1f.json"
    fetched = lambda: len(cloud.calls("/v2/customer/device/secret/info"))  # noqa: E731
    before = fetched()
    with chip(tmp_path / "board", number=0x1F, bare=False) as board:
        given = arguments(platform, "ESP32_GENERIC", board.port)
        assert run(*given)[0] == 0
        board.wait_for("reported")
        records = secrets_in(board)

        def cut_short(*more):
            with (tmp_path / "board/flash.bin").open("rb") as flash:

                def head():
                    flash.seek(0x200000)
                    return flash.read(littlefs.BLOCK)

                there = head()
                with started(*given, *more) as flashing:
                    wait_until(lambda: head() != there, flashing)
                    # It stands still while it is looked at: the chip starts anew as soon as it is ended.
                    os.killpg(flashing.pid, signal.SIGSTOP)
                    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
                    with pytest.raises(ValueError, match="not a LittleFS image"):
                        board.files()
            board.wait_for("Performing initial setup")

        cut_short("--source")
        status, said = run(*given)
        assert status == 0 and "enrolled" in said, said + board.output
        board.wait_for("reported")
        assert records and records == secrets_in(board)
        assert fetched() == before + 1 and not kept.exists()

        cut_short("--source")
        status, said = run(*given, "--erase", "--firmware", str(firmware_file("ESP32_GENERIC")))
        assert status == 0 and "enrolled" in said, said
        assert fetched() == before + 2 and not kept.exists()


def test_what_was_put_aside_and_is_damaged_is_named_before_anything_is_written(
    tmp_path, platform, firmware_file, state_home
):
    kept = state_home / "muster" / "24-0a-c4-00-00-20.json"
    kept.parent.mkdir(exist_ok=True)
    file = firmware_file("ESP32_GENERIC")
    for content in ("[]", '{"/state/a": 1}', "{"):
        kept.write_text(content)
        with chip(tmp_path / "board", number=0x20) as board:
            status, said = run(*arguments(platform, "ESP32_GENERIC", board.port, firmware=file))
        assert (status, said) == (1, ANY(f"{kept}, which keeps the device's secret"))
    assert set((tmp_path / "board/flash.bin").read_bytes()) == {0xFF}


def test_new_firmware_with_its_file_system_elsewhere_leaves_the_secret(tmp_path, platform):
    cloud, _ = platform
    *first, (name, kind, subtype, offset, size) = PARTITIONS
    table = partition_table((*first, (name, kind, subtype, offset, size + 0x10000)))
    file = tmp_path / "larger.bin"
    file.write_bytes(firmware(TYPES["ESP32_GENERIC"], table=table))
    with chip(tmp_path / "board", bare=False) as board:
        given = arguments(platform, "ESP32_GENERIC", board.port)
        assert run(*given)[0] == 0
        board.wait_for("reported")
        kept = secrets_in(board)
        before = len(cloud.calls("/v2/customer/device/secret/info"))
        status, said = run(*given, "--firmware", str(file))
        assert status == 0 and "enrolled" in said, said
        board.wait_for("reported")
        assert kept and kept == secrets_in(board)
    assert boards.table_in(file.read_bytes(), 0x1000)[-1].size == size + 0x10000
    assert len(cloud.calls("/v2/customer/device/secret/info")) == before


def test_five_at_once_get_five_rows_and_one_that_was_killed_keeps_its_own(tmp_path, platform, firmware_file):
    _, folder = platform
    file = firmware_file("ESP32_GENERIC", 30_000)
    with contextlib.ExitStack() as stack:
        rack = [stack.enter_context(chip(tmp_path / f"{n}", number=n)) for n in range(1, 6)]

        def command(chips):
            given = arguments(platform, "ESP32_GENERIC", *(board.port for board in chips), firmware=file)
            given += ["--identities", str(folder / "batch.csv")]
            return [sys.executable, "-m", "tools.cli", *given]

        flashing = subprocess.Popen(
            command(rack[:2]),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        journal = folder / "batch.csv.boards"
        until = time.monotonic() + 30
        while not journal.exists() or not journal.read_bytes().count(b"\n"):
            assert time.monotonic() < until and flashing.poll() is None
            time.sleep(0.005)
        os.killpg(flashing.pid, signal.SIGKILL)
        flashing.communicate()
        claimed = rows_in(journal)
        assert claimed

        done = subprocess.run(command(rack), capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("enrolled") >= 5
        rows = rows_in(journal)
        assert claimed.items() <= rows.items()
        assert set(rows) == {f"24:0a:c4:00:00:{n:02x}" for n in range(1, 6)}
        assert len({row["deviceNo"] for row in rows.values()}) == 5
        for board in rack:
            board.cut_power()
            config = json.loads(board.files()["/config.json"])
            row = rows[":".join(f"{byte:02x}" for byte in board.mac)]
            assert (config["deviceNo"], config["cmei"]) == (row["deviceNo"], row["cmei"])
            assert config["productId"] == PRODUCT["productId"]


def rows_in(journal):
    entries = [json.loads(line) for line in journal.read_text().splitlines(keepends=True) if line[-1] == "\n"]
    return {entry["mac"]: entry["row"] for entry in entries if "row" in entry}


def test_a_csv_without_rows_left_fails_that_board_and_no_other(tmp_path, platform):
    (tmp_path / "one.csv").write_text("deviceNo,cmei\nAI-0009,111234560000090\n")
    with (
        chip(tmp_path / "1", number=21, bare=False) as first,
        chip(tmp_path / "2", number=22, bare=False) as second,
    ):
        given = arguments(platform, "ESP32_GENERIC", first.port, second.port)
        status, said = run(*given, "--no-wait", "--identities", str(tmp_path / "one.csv"))
    assert status == 1
    assert "AI-0009" in said and "flashed" in said and "one.csv: no board has a row of it yet." in said
    assert re.search(r"no row of\s", said) and "1 are taken" in " ".join(said.split())


def test_what_can_go_wrong_is_a_sentence_and_a_status(tmp_path, platform, firmware_file):
    _, folder = platform
    flash = lambda kind, *more: run(*arguments(platform, kind), *more)  # noqa: E731
    assert flash("ESP32_GENERIC", "--port", "/dev/none") == (1, ANY("there is no port /dev/none"))
    assert flash("ESP32_GENERIC") == (
        2,
        ANY("give --port. USB serial ports here: none; is the board plugged in? A virtual board's is DATA"),
    )
    assert flash("ESP32_GENERIC_H2", "--port", "/dev/none") == (2, ANY("expected one of ESP32_GENERIC, "))
    assert flash("ESP32_GENERIC", "--port", "/dev/none", "--erase") == (2, ANY("give --firmware as well"))
    nothing = tmp_path / "nothing.bin"
    nothing.write_bytes(b"<html>")
    given = ["--port", "/dev/none", "--firmware"]
    assert flash("ESP32_GENERIC", *given, str(nothing)) == (1, ANY("it is no ESP32 firmware"))
    other = firmware_file("ESP32_GENERIC_S3")
    assert flash("ESP32_GENERIC", *given, str(other)) == (
        1,
        ANY("it is for ESP32-S3; expected ESP32_GENERIC-"),
    )
    (tmp_path / "bad.json").write_text('{"productID": "1"}')
    bad = ["flash", "--board", "ESP32_GENERIC", "--config", str(tmp_path / "bad.json"), "--port", "/dev/none"]
    assert run(*bad) == (1, ANY('did you mean "productId"'))
    assert (
        run(
            "image", "--config", str(folder / "config.json"), "--board", "ESP32_GENERIC", "--flash-size", "2"
        )[0]
        == 1
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"productId": "1"}', '"productKey" is missing'),
        ("[]", "the configuration is no JSON object"),
        ('"text"', "the configuration is no JSON object"),
        ('{\n"productId": ,', "config.json: this is not JSON: look at line 2 or just before it"),
    ],
)
def test_a_wrong_configuration_is_said_before_a_row_is_claimed(tmp_path, platform, content, words):
    config = tmp_path / "config.json"
    config.write_text(content)
    (tmp_path / "batch.csv").write_bytes((platform[1] / "batch.csv").read_bytes())
    given = ["flash", "--board", "ESP32_GENERIC", "--config", str(config), "--port", "/dev/none"]
    alone = run(*given)
    assert run(*given, "--identities", str(tmp_path / "batch.csv")) == alone == (1, ANY(words))
    assert "/dev/none" not in alone[1]
    assert not (tmp_path / "batch.csv.boards").exists()


@pytest.mark.parametrize(
    ("batch", "config", "words"),
    [
        (None, {}, "all boards would share the deviceNo AI-0001 of"),
        (None, {"deviceNo": "auto"}, "all boards would share the cmei 111234560000010 of"),
        ("deviceNo\nAI-0001\nAI-0002\n", {}, "all boards would share the cmei 111234560000010 of"),
        ("cmei\n111234560000011\n111234560000029\n", {}, "all boards would share the deviceNo AI-0001 of"),
        (
            "deviceNo,cmei\nA,111234560000011\nB,111234560000029\n",
            {"imei": "861234560000013"},
            "all boards would share the imei 861234560000013 of",
        ),
    ],
)
def test_boards_that_would_share_a_number_are_refused_before_anything_is_written(
    tmp_path, platform, batch, config, words
):
    before = json.loads((platform[1] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**before, **config}))
    given = arguments(platform, "ESP32_GENERIC", "/dev/none", *(["/dev/none2"] if batch is None else []))
    given[given.index("--config") + 1] = str(tmp_path / "config.json")
    if batch is not None:
        (tmp_path / "batch.csv").write_text(batch)
        given += ["--identities", str(tmp_path / "batch.csv")]
    status, said = run(*given)
    assert (status, said) == (1, ANY(words)) and "nothing was written" in said and "/dev/none" not in said
    assert not (tmp_path / "batch.csv.boards").exists()


KEYED = "deviceNo,cmei,setup.key\nA,111234560000011,GHJKMNPQRS\nB,111234560000029,HHJKMNPQRS\n"
UNKEYED = "deviceNo,cmei\nA,111234560000011\nB,111234560000029\n"


@pytest.mark.parametrize(
    ("batch", "setup", "words"),
    [
        (KEYED, None, 'batch.csv has the column setup.key, and .*config.json no "setup"'),
        (KEYED, {}, 'batch.csv has the column setup.key, and .*config.json no "setup"'),
        (UNKEYED, {"name": "Bear"}, 'has "setup", and no key .*batch.csv a column setup.key .*--setup-keys'),
        (UNKEYED, {"key": "JHJKMNPQRS"}, "all boards would share the setup.key of .*--setup-keys"),
        (None, {"name": "Bear"}, 'has "setup", and no key .*Give --identities, .*--setup-keys'),
        (KEYED, {"name": 5}, '"setup.name" holds 5'),
        (KEYED, "GHJKMNPQRS", '"setup" holds something that is not shown here'),
    ],
)
def test_boards_without_a_key_of_their_own_are_refused_before_anything_is_written(
    tmp_path, platform, batch, setup, words
):
    before = json.loads((platform[1] / "config.json").read_text())
    more = {} if setup is None else {"setup": setup}
    (tmp_path / "config.json").write_text(json.dumps({**before, "deviceNo": "auto", "cmei": "", **more}))
    given = arguments(platform, "ESP32_GENERIC", "/dev/none")
    given[given.index("--config") + 1] = str(tmp_path / "config.json")
    if batch is not None:
        (tmp_path / "batch.csv").write_text(batch)
        given += ["--identities", str(tmp_path / "batch.csv")]
    status, said = run(*given)
    assert status == 1 and re.search(words, said) and "/dev/none" not in said and "JKMNPQRS" not in said
    assert not (tmp_path / "batch.csv.boards").exists()


def test_each_board_gets_its_own_key_and_keeps_the_networks_that_a_buyer_gave_it(tmp_path, platform):
    config = json.loads((platform[1] / "config.json").read_text())
    setup = {"name": "Bear", "idle": 60}
    (tmp_path / "config.json").write_text(json.dumps({**config, "wifi": [], "setup": setup}))
    (tmp_path / "batch.csv").write_text(KEYED)
    networks = {f"/state/networks.{slot}": bytes([slot]) * 50 for slot in (0, 1)}
    board = chip(tmp_path / "board", number=0x70, bare=False)
    blocks = board.flash.region.size // littlefs.BLOCK
    board.flash.write(littlefs.build({**networks, "/old.py": b""}, blocks, 0))
    with board:
        given = arguments(platform, "ESP32_GENERIC", board.port)
        given[given.index("--config") + 1] = str(tmp_path / "config.json")
        given += ["--identities", str(tmp_path / "batch.csv"), "--no-wait"]
        done = CliRunner().invoke(main, [*given, "--json"])
        assert done.exit_code == 0 and "JKMNPQRS" not in done.output, done.output
        assert json.loads(done.stdout)[0]["identity"] == {"deviceNo": "A", "cmei": "111234560000011"}
        board.cut_power()
        files = board.files()
    written = json.loads(files["/config.json"])
    assert written["setup"] == {**setup, "key": "GHJKMNPQRS"} and "setup.key" not in written
    assert {path: files[path] for path in networks} == networks and "/old.py" not in files
    assert "/lib/muster/portal/settings.mpy" in files
    assert written["wifi"] == [] and written["deviceNo"] == "A"


@pytest.mark.parametrize("batch", [True, False])
def test_two_boards_that_show_one_mac_in_one_run_do_not_share_an_identity(tmp_path, platform, batch):
    config = json.loads((platform[1] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "deviceNo": "auto", "cmei": ""}))
    (tmp_path / "batch.csv").write_text("deviceNo\nAI-0001\nAI-0002\n")
    with (
        chip(tmp_path / "1", number=0x40, bare=False) as first,
        chip(tmp_path / "2", number=0x40, bare=False) as second,
    ):
        given = arguments(platform, "ESP32_GENERIC", first.port, second.port)
        given[given.index("--config") + 1] = str(tmp_path / "config.json")
        given += ["--identities", str(tmp_path / "batch.csv")] if batch else []
        status, said = run(*given, "--no-wait")
        assert (status, said) == (1, ANY("its MAC is 24:0a:c4:00:00:40, as of the board on"))
    assert sum(b"muster-lab" in (tmp_path / n / "flash.bin").read_bytes() for n in "12") == 1


def test_a_row_that_does_not_fit_the_configuration_fails_its_board_with_a_sentence(tmp_path, platform):
    _, folder = platform
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "deviceNoType": "CMEI"}))
    cmei = IDENTITIES[0]["cmei"]
    (tmp_path / "batch.csv").write_text(f"deviceNo,cmei\n{cmei},{cmei}\nAI-1,{IDENTITIES[1]['cmei']}\n")
    with contextlib.ExitStack() as stack:
        ports = [
            stack.enter_context(chip(tmp_path / f"{n}", number=0x30 + n, bare=False)).port for n in (1, 2)
        ]
        given = arguments(platform, "ESP32_GENERIC", *ports)
        given[given.index("--config") + 1] = str(tmp_path / "config.json")
        status, said = run(*given, "--no-wait", "--identities", str(tmp_path / "batch.csv"))
    assert (status, said) == (1, ANY('configuration key "deviceNo" holds'))
    assert "flashed" in said and "Traceback" not in said


@pytest.mark.parametrize("columns", [40, 80])
def test_the_result_is_readable_on_a_narrow_terminal(platform, columns):
    port = "/dev/serial/by-id/usb-Espressif_USB_JTAG_serial_debug_unit_F4:12:FA:E3:11:A0-if00"
    status, said = run(*arguments(platform, "ESP32_GENERIC", port), columns=columns)
    live, _, row = said.splitlines()
    assert status == 1
    assert row.startswith(port) and row.endswith("The command `ports` lists them.")
    assert live.startswith("…_F4:12:FA:E3:11:A0-if00") and "there is" in live and len(live) <= columns


def test_brackets_in_what_is_shown_are_shown(platform):
    status, said = run(*arguments(platform, "ESP32_GENERIC", "/dev/[/x]"))
    assert status == 1 and "there is no port /dev/[/x]:" in said
    shown = table(
        [rack.BoardResult("[red]", identity={"deviceNo": "AI[/x]"}, said="it said [/y]", seconds=1.5)]
    )
    assert shown.plain.splitlines()[1] == "[red]       AI[/x]    1.5  it said [/y]"


def test_the_chip_says_which_boards_it_may_be(tmp_path, platform):
    given = arguments(platform, "ESP32_GENERIC")
    del given[1:3]
    asked = SimpleNamespace(name="ESP32-P4")
    both = "ESP32_GENERIC_P4_C6_WIFI and ESP32_GENERIC_P4_C5_WIFI"
    with pytest.raises(ValueError, match=f"boards with an ESP32-P4 are {both}: give --board"):
        chips.Chip.board(asked)
    wrong = tmp_path / "wrong.bin"
    wrong.write_bytes(firmware(TYPES["ESP32_GENERIC_S3"]))
    with chip(tmp_path / "board") as board:
        status, said = run(*given, "--port", board.port, "--firmware", str(wrong))
    assert (status, said) == (1, ANY("it is for ESP32-S3; expected ESP32_GENERIC-"))


def test_a_production_system_reads_what_became_of_each_board(tmp_path, platform):
    before = int(time.time())
    (tmp_path / "batch.csv").write_text("deviceNo,cmei\n{deviceNo},{cmei}\n".format(**IDENTITIES[7]))
    with chip(tmp_path / "board", number=0x50, bare=False) as board:
        given = arguments(platform, "ESP32_GENERIC", board.port, "/dev/none")
        command = [*given, "--json", "--identities", str(tmp_path / "batch.csv")]
        done = CliRunner().invoke(main, command)
        after = int(time.time())
        first, second = json.loads(done.stdout)
    assert done.exit_code == 1 and "no board has a row of it yet" in done.stderr
    times = [first.pop(name) for name in ("started", "written", "ended")]
    assert before <= times[0] <= times[1] <= times[2] <= after and first.pop("seconds") > 0
    assert first == {
        "port": board.port,
        "board": "ESP32_GENERIC",
        "mac": "24:0a:c4:00:00:50",
        "identity": IDENTITIES[7],
        "check": "",
        "outcome": "enrolled",
        "said": "enrolled",
    }
    assert (second["outcome"], second["mac"], second["written"]) == ("failed", "", None)
    assert "there is no port /dev/none" in second["said"]


def test_what_cannot_be_written_down_ends_no_board(tmp_path, platform):
    (tmp_path / "batch.csv").write_text("deviceNo\nAI-0077\n")
    ledger = Ledger(tmp_path / "batch.csv")
    ledger.close()
    place = rack.Place(SimpleNamespace(settings=None, ledger=ledger, show=lambda *_: None), "/dev/none")
    place.result.mac = "24:0a:c4:00:00:60"
    place.run()
    assert place.over.is_set() and place.result.outcome == "failed"
    assert place.result.said.startswith("there is no port") and "is closed" in place.result.said


def test_ports_lists_what_is_plugged_in_and_asks_the_chips(tmp_path, monkeypatch):
    info = SimpleNamespace(device="/dev/ttyACM9", description="USB JTAG/serial debug unit")
    info.vid, info.serial_number = ports.ESPRESSIF, "F4:12:FA:E3:11:A0"
    own = SimpleNamespace(device="/dev/ttyS0", description="n/a", vid=None, serial_number=None)
    monkeypatch.setattr(ports.list_ports, "comports", lambda: [own, info])
    assert run("ports") == (0, "/dev/ttyACM9  f4:12:fa:e3:11:a0  USB JTAG/serial debug unit\n")
    with chip(tmp_path / "board", "ESP32_GENERIC_C3", bare=False) as board:
        board.wait_for(">>> ")
        status, said = run("ports", "--ask", "--port", board.port, "--port", "/dev/none", "--json")
        board.wait_for("MicroPython")  # it has started anew
    asked, missing = json.loads(said)
    assert asked == {"port": board.port, "description": "", "mac": "24:0a:c4:00:00:01", "chip": "ESP32-C3"}
    assert status == 1 and "there is no port /dev/none" in missing["error"]
    monkeypatch.setattr(ports.list_ports, "comports", lambda: [own])
    assert run("ports") == (0, ANY("No USB serial port was found"))
    assert run("ports") == (0, ANY("A virtual board's is DATA/port"))
    assert run("ports", "--json") == (0, "[]\n")


@pytest.mark.parametrize("baud", ["-5", "0", "99999999999"])
def test_a_baud_rate_that_no_line_has_is_refused(platform, baud):
    assert run(*arguments(platform, "ESP32_GENERIC", "/dev/none"), "--baud", baud) == (
        2,
        ANY("not in the range"),
    )


def test_the_wrong_chip_and_a_port_in_use_and_silence(tmp_path, platform, monkeypatch):
    with chip(tmp_path / "c3", "ESP32_GENERIC_C3") as board:
        status, said = run(*arguments(platform, "ESP32_GENERIC", board.port))
        assert (status, said) == (1, ANY("the chip is an ESP32-C3, and ESP32_GENERIC has an ESP32:"))
        import serial

        with serial.Serial(board.port, exclusive=True):
            status, said = run(*arguments(platform, "ESP32_GENERIC_C3", board.port))
        assert (status, said) == (1, ANY("is in use by another program"))
        # No firmware in it yet, and none was given.
        status, said = run(*arguments(platform, "ESP32_GENERIC_C3", board.port))
        assert (status, said) == (1, ANY("Give --firmware"))
    ours, its = os.openpty()
    status, said = run(*arguments(platform, "ESP32_GENERIC", os.ttyname(its)))
    os.close(ours)
    os.close(its)
    assert (status, said) == (1, ANY("no chip answers on"))


def test_chips_side_by_side_tell_each_its_own_mac_and_the_size_of_its_flash(tmp_path):
    macs = [bytes.fromhex(f"240ac400008{n}") for n in range(2)]
    with contextlib.ExitStack() as stack:
        asked = []
        for mac, size in zip(macs, TYPES["ESP32_GENERIC_S3"].flash, strict=False):
            board = Board(tmp_path / mac.hex(), kind="ESP32_GENERIC_S3", flash=size, mac=mac, bare=True)
            line = stack.enter_context(ports.opened(stack.enter_context(board).port, chips.ROM_BAUD))
            asked.append((chips.Chip(line), mac, size))
        for found, mac, size in asked:
            found.speed_up(460800)
            assert (found.mac, found.flash_size()) == (mac.hex(":"), size)


def test_a_chip_whose_answer_was_late_is_asked_again(monkeypatch):
    class Chip:
        CHIP_NAME = "ESP32"

        def read_mac(self):
            return bytes.fromhex("240ac4000001")

    asked = []

    def detect(line, connect_mode):
        asked.append(line)
        if len(asked) == 1:
            raise FatalError("Failed to get security info")
        return Chip()

    monkeypatch.setattr(esptool.cmds, "detect_chip", detect)
    line = SimpleNamespace(is_open=True, cts=False)
    found = chips.Chip(line)
    assert found.mac == "24:0a:c4:00:00:01" and asked == [line, line]


def test_an_image_too_large_for_its_partition_is_said_before_anything_is_written(tmp_path, platform):
    small = partition_table((*PARTITIONS, ("vfs", 1, 0x81, 0x200000, 0x8000)))
    file = tmp_path / "small.bin"
    file.write_bytes(firmware(TYPES["ESP32_GENERIC"], table=small))
    with chip(tmp_path / "board") as board:
        status, said = run(*arguments(platform, "ESP32_GENERIC", board.port, firmware=file))
    assert (status, said) == (1, ANY("do not fit into 8 blocks of 4096 bytes"))
    assert set((tmp_path / "board/flash.bin").read_bytes()) == {0xFF}


def test_a_device_that_does_not_enrol_is_told_with_its_last_words(tmp_path, platform):
    _, folder = platform
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "productKey": "wrong"}))
    with chip(tmp_path / "board", bare=False) as board:
        given = ["flash", "--board", "ESP32_GENERIC", "--config", str(tmp_path / "config.json")]
        # Without its root the platform is not reached, which may pass.
        status, said = run(*given, "--timeout", "2", "--port", board.port)
        assert (status, said) == (
            1,
            ANY("it is written, and did not enrol within 2 s. The last it said: muster:"),
        )
        given += ["--timeout", "600", "--roots", str(folder / "ca.pem"), "--port", board.port]
        refused = "it is written, and cannot enrol or report. It said: muster: warning: put this right: "
        status, said = run(*given)
        assert (status, said) == (1, ANY(refused + "chinamobile refused: 产品秘钥错误"))
        assert 'What to do: correct "productKey" in config.json' in said
        # Enrolled already, it would not need the key before its next report.
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert run(*given) == (0, ANY("enrolled"))
        board.wait_for("reported")
        (tmp_path / "config.json").write_text(json.dumps({**config, "productKey": "wrong"}))
        assert run(*given) == (1, ANY(refused + "chinamobile refused: 产品秘钥错误"))
        (tmp_path / "config.json").write_text(json.dumps({**config, "deviceNo": "AI-9999"}))
        assert run(*given) == (1, ANY(refused + "chinamobile refused: 设备不存在"))


def test_nothing_that_a_device_says_reaches_the_terminal_as_a_command(tmp_path, platform, monkeypatch):
    evil = "muster: warning: put this right: \\x1b]0;owned\\x07 \\x9b2J \\u202e \\x1b[31m"
    says_so = {"/main.py": f'print("{evil}")\n'.encode()}
    # Of rack, which is loaded: whoever imports it from product later would keep what stands there now.
    monkeypatch.setattr(rack, "board_image", functools.partial(product.board_image, more=says_so))
    with chip(tmp_path / "board", bare=False) as board:
        status, said = run(*arguments(platform, "ESP32_GENERIC", board.port))
    assert (status, said) == (1, ANY("put this right: ]0;owned 2J [31m"))
    assert all(c.isprintable() or c == "\n" for c in said)


def test_ctrl_c_stops_all_and_leaves_no_process(tmp_path, platform, firmware_file):
    with chip(tmp_path / "board") as board:
        file = firmware_file("ESP32_GENERIC", 500_000)
        given = arguments(platform, "ESP32_GENERIC", board.port, firmware=file)
        flash = tmp_path / "board/flash.bin"
        with started(*given) as flashing:
            wait_until(lambda: flash.read_bytes()[0x1000:0x1001] != b"\xff", flashing)
            ctrl_c(flashing)
        assert run(*given)[0] == 0


def test_ctrl_c_while_it_looks_for_a_chip_is_no_different(platform):
    ours, its = os.openpty()
    with started(*arguments(platform, "ESP32_GENERIC", os.ttyname(its))) as flashing:
        wait_until(lambda: select.select([ours], [], [], 0)[0], flashing)
        ctrl_c(flashing)
    os.close(ours)
    os.close(its)


def test_ctrl_c_before_anything_is_begun_is_no_different(platform, monkeypatch):
    monkeypatch.setattr(ports, "usb_ports", lambda: signal.raise_signal(signal.SIGINT))
    assert run(*arguments(platform, "ESP32_GENERIC"), "--all") == (
        130,
        ANY("stopped: flash each board again"),
    )


def test_a_board_that_is_waited_for_when_ctrl_c_comes_is_flashed_and_not_enrolled_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(rack.ports, "opened", lambda port, baud: contextlib.nullcontext())
    monkeypatch.setattr(rack.Place, "_write", lambda place, line: place.rack.stopped.set())
    settings = rack.Settings(tmp_path / "config.json", [], wait=60)
    flashing = rack.Rack(settings, {}, ["/dev/one"], None, lambda *shown: None)
    flashing.flash()
    [result] = flashing.results
    assert (result.outcome, result.said) == ("flashed", "flashed, not enrolled yet")


def ctrl_c(flashing):
    os.killpg(flashing.pid, signal.SIGINT)
    said, _ = flashing.communicate(timeout=100)
    assert flashing.returncode == 130, said
    assert "stopped: flash it again" in said and "status" not in said
    assert "stopped: flash each board again that is not flashed" in said and "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.killpg(flashing.pid, 0)
            time.sleep(0.05)


def test_all_takes_the_ports_of_usb_devices(tmp_path, platform, monkeypatch):
    with chip(tmp_path / "board", bare=False) as board:
        monkeypatch.setattr(ports, "usb_ports", lambda: [ports.Plugged(board.port, "a board", "")])
        status, said = run(*arguments(platform, "ESP32_GENERIC"), "--all", "--no-wait")
    assert status == 0 and board.port in said


def test_an_image_needs_no_board_and_says_where_it_goes(tmp_path, platform):
    _, folder = platform
    given = ["image", "--config", str(folder / "config.json"), "--roots", str(folder / "ca.pem")]
    status, said = run(*given, "-o", str(tmp_path / "a.img"))
    assert status == 0 and "2097152 bytes, for the flash from 0x200000 on" in said
    status, said = run(*given, "--source", "-o", str(tmp_path / "b.img"), "--json")
    files = littlefs.read((tmp_path / "b.img").read_bytes())
    report = json.loads(said)
    assert status == 0 and report["files"] == {path: len(data) for path, data in sorted(files.items())}
    assert (report["board"], report["flashMB"], report["offset"], report["bytes"]) == (None, 4, 2**21, 2**21)
    assert {name for name in files if "/muster/agent." in name} == {"/lib/muster/agent.py"}
    with Board(tmp_path / "board", (tmp_path / "a.img").read_bytes()) as board:
        board.wait_for(re.compile("enrolled as|the next report"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_image_is_there_whoever_listens_and_only_for_its_owner(tmp_path, platform):
    _, folder = platform
    image = tmp_path / "out.img"
    image.write_bytes(b"older")
    image.chmod(0o644)
    given = ["image", "--config", str(folder / "config.json"), "--roots", str(folder / "ca.pem")]
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "tools.cli", *given, "-o", str(image), "--board", "ESP32_GENERIC"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100)
    assert "Traceback" not in done.stderr
    assert "/config.json" in littlefs.read(image.read_bytes())
    assert stat.S_IMODE(image.stat().st_mode) == 0o600
    status, said = run(*given, "-o", str(tmp_path / "nowhere/out.img"))
    assert (status, said) == (1, ANY("nowhere/out.img cannot be written: No such file or directory"))


class ANY(str):
    """Equal to every text that holds it, whatever lines that is broken into."""

    def __eq__(self, other):
        flat = " ".join(other.replace("│", " ").split())
        return " ".join(self.split()) in flat

    __hash__ = str.__hash__
