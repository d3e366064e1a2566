"""A product on the virtual board, flashed with what ships, against the platform in a box: two virtual days.

    first start       the clock says 2000; it enrols and reports
    reboot            the next report comes at T_next
    power cut         an hour without power; the next report comes at T_next
    power cut         in the middle of the write that follows that one's successor; it reports in time again

Time is virtual: what is waited for here in seconds is a T_next that is hours away.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers

from tools.admit.facts import (
    CUT,
    FIRST,
    REBOOT,
    REPORT,
    SECRET_INFO,
    TORN,
    Call,
    Facts,
    Kept,
    Start,
    read_product,
    refusals,
)
from tools.board import Board, BoardError
from tools.board.board import AIR
from tools.cloud import Cloud, Device
from tools.cloud.ntp import Ntp
from tools.common import littlefs
from tools.common.records import newest
from tools.common.vm import find_faketime, find_micropython
from tools.factory.library import built
from tools.factory.product import BLOCKS, board_files
from tools.factory.trust import root_files

HOUR, DAY = 3600, 86400
WAIT_S = 60  # of this computer's time, for what the device should do at once
MAC = bytes.fromhex("240ac4c0ffee")
PROMPT = ">>> "  # where a board ends whose program does
GREETING = ("MicroPython ", 'Type "help()"')  # before it
DUE = re.compile(r"the next report is due in (?:(\d+) h )?(?:(\d+) min|(\d+) s)")

Told = Callable[[str], None]


def gathered(
    config: Path,
    identities: Path | None = None,
    roots: Sequence[Path] = (),
    keys: Sequence[Path] = (),
    told: Told = lambda act: None,
) -> Facts:
    """What a product shows: its files, and a trial if its configuration lets a board start.

    Raises ConfigError, ValueError for what cannot go onto a board, and OSError.
    """
    told("The product is built")
    raw, rows = read_product(config, identities)
    settings, refused = refusals(raw)
    shipped = board_files(raw, roots, keys=keys)
    count = sum(path.startswith("/roots/") for path in shipped)
    of_batch = f", completed by the first of {len(rows):,} rows of {identities}" if rows else ""
    subject = f"the product of {config}{of_batch}, on a virtual board"
    facts = Facts(subject, False, settings, number(settings), refused, rows, count)
    if refused:
        why = next(iter(refused.values()))
        return replace(facts, unseen=f"There was no trial: a board refuses this configuration: {why}.")
    if impossible():
        return replace(facts, unseen=impossible())
    return tried(facts, shipped, told)


def impossible() -> str:
    """Why no trial can be made on this computer, "" if one can."""
    if find_micropython() is None or find_faketime() is None:
        return (
            "There was no trial: a virtual board with a clock of its own needs MicroPython and libfaketime, "
            "which PyPI has for Linux on x86-64; on Windows run it in WSL."
        )
    return ""


def number(config: Mapping[str, Any]) -> str:
    """The device's number, that of the virtual board where the configuration leaves it to the MAC."""
    return MAC.hex().upper() if config["deviceNo"] == "auto" else config["deviceNo"]


def tried(facts: Facts, shipped: Mapping[str, bytes], told: Told = lambda act: None) -> Facts:
    """The facts with what a trial shows. shipped: the product's files, path -> content. told: of each act."""
    with tempfile.TemporaryDirectory(prefix="muster-admit-") as name, Ntp() as ntp:
        trial = Trial(ntp)
        config = facts.config
        device = Device(
            config["productId"], config["productKey"], config["deviceNoType"], facts.device_no, facts.cellular
        )
        with Cloud([device], now=trial.now, on_call=trial.answered, on_request=trial.asked) as cloud:
            settings = {"wifi": [], **json.loads(shipped["/config.json"])}
            here, differences = placed(settings, cloud.url, "{}:{}".format(*ntp.address))
            files = {path: data for path, data in shipped.items() if not path.startswith("/roots/")}
            files |= {"/config.json": json.dumps(here).encode(), **root_files([cloud.ca_pem])}
            air = [{**AIR[0], **network} for network in here["wifi"]]
            board = Board(Path(name), littlefs.build(files, BLOCKS, built()), air=air, mac=MAC)
            try:
                trial.run(board, told)
            except BoardError as e:
                trial.ended = "The trial ended early: " + str(e).partition("\n")[0]
            finally:
                board.stop()
            known = cloud.device(device.product_id, device.device_no) or {}
            return replace(
                facts,
                identity={"deviceId": known["device_id"], "deviceSecret": known["device_secret"]},
                events=tuple(trial.events),
                until=trial.now(),
                unseen=trial.ended,
                differences=differences,
            )


def placed(config: Mapping[str, Any], url: str, ntp: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The configuration with which a product talks to the box alone, and what differs from the one given."""
    here = {**config, "baseUrl": url, "roots": "/roots"}
    differences = ["its address, and the CA root: the platform in a box on this computer answered"]
    if config.get("ntp") != []:
        here["ntp"] = [ntp]
        differences.append("the time servers: one on this computer told the virtual time")
    if not config["wifi"]:
        here["wifi"] = [{name: AIR[0][name] for name in ("ssid", "key")}]
        differences.append("a Wi-Fi network, since the configuration has none")
    if config.get("updates"):
        here["updates"] = {**config["updates"], "url": f"{url}/release/manifest.jwt"}
        differences.append("the address of releases, at which there was none")
    return here, tuple(differences)


class Trial:
    """A device's life, and what came of it. ended: why before its end, "" if not."""

    def __init__(self, ntp: Ntp) -> None:
        self.ntp = ntp
        self.ahead = 0  # of this computer's time
        self.events: list[Start | Call | Kept] = []
        self.ended = ""

    def now(self) -> float:
        return time.time() + self.ahead

    # The box, in its thread

    def asked(self, method: str, path: str, headers: Headers, body: bytes) -> None:
        if path in (SECRET_INFO, REPORT):
            content: Any = None
            with contextlib.suppress(ValueError):
                content = json.loads(body)
            kind, ip = headers.get("Content-Type", ""), headers.get("X-AI-IP")
            said = content if isinstance(content, dict) else {}
            self.events.append(Call(self.now(), method, path, kind, ip, said))

    def answered(self, row: Mapping[str, Any]) -> None:
        if row["path"] in (SECRET_INFO, REPORT):
            # The device has one connection, so it is the last one's.
            asked = self.calls()[-1]
            self.events[self.events.index(asked)] = replace(asked, code=row["code"], reason=row["reason"])

    # The device's life

    def run(self, board: Board, told: Told) -> None:
        told("The device is switched on for the first time")
        self.start(board, FIRST)
        self.wait_for_answer(board, 1)
        told("It is rebooted, and reports at T_next")
        self.reboot(board)
        self.report_when_due(board)
        told("Its power is cut, and it reports at T_next")
        board.cut_power()
        self.pass_time(HOUR)
        self.start(board, CUT)
        self.report_when_due(board)
        told("Its power is cut in the middle of a write, and it reports in time")
        board.cut_power()
        self.cut_while_it_writes(board)
        self.start(board, TORN)
        self.report_when_due(board)

    def start(self, board: Board, how: str) -> None:
        self.events.append(Start(self.now(), how))
        board.start()
        if how != FIRST:
            self.settled(board)

    def reboot(self, board: Board) -> None:
        self.events.append(Start(self.now(), REBOOT))
        board.write(b"\x03")
        board.wait_for(PROMPT)
        board.write(b"import machine; machine.reset()\r")
        self.settled(board)

    def settled(self, board: Board) -> None:
        """Waits until the device has looked at its schedule, or has reported."""
        try:
            board.wait_for(DUE, WAIT_S)
        except BoardError:
            said = f"the device did not say when its next report is due. {last_words(board)}"
            raise BoardError(said) from None

    def cut_while_it_writes(self, board: Board) -> None:
        """Starts the device, which is no start of those that are judged: nothing comes of this life."""
        board.cut_at, board.torn = 1, 0.5
        board.start()
        with contextlib.suppress(BoardError):
            self.settled(board)
            self.pass_time(self.due(board) - self.now(), board)
        board.wait_off(WAIT_S)
        board.cut_at = None

    def report_when_due(self, board: Board) -> None:
        """Lets time pass until the device reports, which is T_next; or until a day is over."""
        accepted = self.accepted()
        self.pass_time(self.due(board) - self.now(), board)
        try:
            self.wait_for_answer(board, len(accepted) + 1)
        except BoardError:
            self.pass_time(accepted[-1].at + DAY + 1 - self.now(), board)
            self.wait_for_answer(board, len(accepted) + 1)

    def due(self, board: Board) -> float:
        """T_next as flash has it; of a report that is overdue, when the device says that it comes."""
        due = stored(board, "schedule").get("next", 0)
        if due > self.now():
            return due
        hours, minutes, seconds = DUE.findall(board.output)[-1]
        return self.now() + 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0) + 60

    def wait_for_answer(self, board: Board, count: int) -> None:
        """Waits until so many heartbeats were answered, and the device has the last on flash."""
        until = time.monotonic() + WAIT_S
        while len(self.accepted()) < count:
            for call in self.calls():
                if call.code not in (None, "200"):
                    raise BoardError(f"the platform refused the device: {call.reason}")
            if time.monotonic() > until or not board.running or board.output.endswith(PROMPT):
                raise BoardError(f"the device sent no heartbeat. {last_words(board)}")
            time.sleep(0.05)
        self.settled(board)
        self.events.append(self.kept(board))

    def calls(self) -> list[Call]:
        return [event for event in self.events if isinstance(event, Call)]

    def accepted(self) -> list[Call]:
        """The heartbeats that were."""
        return [call for call in self.calls() if call.path == REPORT and call.accepted]

    def kept(self, board: Board) -> Kept:
        record = stored(board, "schedule")
        if not record:
            raise BoardError("the device has no time of a report on its flash")
        return Kept(self.now(), record["last"], record["next"], record["reports"])

    def pass_time(self, seconds: float, board: Board | None = None) -> None:
        """Lets so much time pass, for the device too where it is on."""
        whole = max(0, round(seconds))
        self.ahead += whole
        self.ntp.offset_s = self.ahead
        if board is not None:
            board.pass_time(whole)


def stored(board: Board, name: str) -> dict[str, Any]:
    """What the device has written, in files or in the NVS; see muster.store and muster.nvs."""
    files = board.files()
    nvs = board.directory / "nvs"
    if nvs.exists():
        for key, value in json.loads(nvs.read_bytes()).items():
            if isinstance(value, str):
                files[f"/state/{key.partition('/')[2]}"] = bytes.fromhex(value)
    return newest(files, name)


def last_words(board: Board) -> str:
    lines = board.output.removesuffix(PROMPT).strip().splitlines()
    said = [line for line in lines if not line.startswith(GREETING)]
    return f"The last that it printed: {said[-1]}" if said else "It printed nothing."
