"""What a board tells of itself and its platform, asked in the order in which a heartbeat comes about."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from muster.trial import STUB

from tools.common.paths import ROOT
from tools.common.printable import printable
from tools.factory import raw_repl
from tools.factory.doctor.chain import Chain, ders, look
from tools.factory.ports import Lost
from tools.factory.raw_repl import END, INTERRUPT, RESTARTED, RawRepl
from tools.factory.stopped import ONBOARD, stopped

# A program that has run for so long does not fail at once. Interrupted, it has so long to end.
RUN_S = 3
END_S = 5
# A scan, or a name that is looked up, keeps a board silent for long.
PATIENCE_S = 120

ENDED = "it ended by itself"
FRAME = re.compile(r'^ *File "([^"]+)", line (\d+)(, in \S+)?', re.MULTILINE)
KIND = re.compile(r"^([A-Za-z_]\w*)(?::|$)", re.MULTILINE)


class Gone(Exception):
    """The board is with a program of its own, and cannot be asked more. Its text: how that ended."""


@dataclass
class Facts:
    """What was asked -> what was answered, {} where it was not asked or not answered. Without any secret.

    silent: why there is no MicroPython to ask. lost: why it answered no more.
    runs: boot.py and main.py -> how each ended, "" while it ran on.
    faults: what was asked -> what it raised instead.
    now: this computer's Unix time when the board told its own, first and after it had asked for it.
    """

    silent: str = ""
    lost: str = ""
    running: dict[str, Any] = field(default_factory=dict)
    survey: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    clock: dict[str, Any] = field(default_factory=dict)
    platform: dict[str, Any] = field(default_factory=dict)
    enrol: dict[str, Any] = field(default_factory=dict)
    roots: dict[str, list[bytes]] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    chain: Chain | None = None
    now: tuple[int, int] = (0, 0)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration without its secrets, {} where it is not right."""
        return self.survey.get("configuration", {}).get("values", {})


def examine(port: str, told: Callable[[str], None]) -> Facts:
    """Asks the board; its program starts again afterwards. Raises Lost for the port.

    told: is told what is asked now.
    """
    raw_repl.opened(port).close()
    facts = Facts()
    try:
        told("the board")
        facts.running = _running(port)
    except Lost as e:
        facts.silent = str(e)
        return facts
    try:
        with stopped(port) as board:
            _ask_all(board, facts, told)
    except Lost as e:
        facts.lost = str(e)
    except Gone:
        pass
    return facts


def _running(port: str) -> dict[str, Any]:
    """What its memory tells before a soft reset clears it."""
    board = RawRepl(port, fresh=False)
    try:
        return board.ask(ONBOARD / "doctor_running.py")
    except Lost:
        raise
    except RuntimeError:
        return {}
    finally:
        board.close()


def _ask_all(board: RawRepl, facts: Facts, told: Callable[[str], None]) -> None:
    def ask(name: str, request: object = None) -> dict[str, Any]:
        _sweep(board)
        try:
            return board.ask(ONBOARD / f"doctor_{name}.py", request, PATIENCE_S)
        except Lost:
            raise
        except RuntimeError as e:
            facts.faults[name] = str(e)
            return {}

    facts.survey = ask("survey")
    facts.now = (int(time.time()),) * 2
    config = facts.config
    if not config:
        return
    facts.roots = _roots(board, facts)
    facts.state = ask("state")
    told("its network")
    facts.network = ask("network")
    if facts.network.get("connected"):
        told("its clock")
        facts.clock = ask("clock", config["ntp"])
        facts.now = facts.now[0], int(time.time())
    told("its platform")
    facts.chain = look(config["baseUrl"], [der for found in facts.roots.values() for der in found])
    if facts.network.get("connected"):
        facts.platform = ask("platform", [config["baseUrl"], config["roots"]])
    if facts.state and not facts.state["enrolled"] and "status" in facts.platform and room(facts.survey):
        told("whether it may enrol")
        facts.enrol = ask("enrol")
    told("its program")
    for name in _programs(facts.survey["programs"]):
        try:
            facts.runs[name] = _run(board, name)
        except Gone as e:
            facts.runs[name] = str(e)
            raise


def _sweep(board: RawRepl) -> None:
    board.run((ONBOARD / "doctor_sweep.py").read_text())


def free_blocks(survey: dict[str, Any]) -> int:
    _, _, blocks, free = survey["flash"]
    # LittleFS counts the blocks of a file that is open twice, and may come to more than there are.
    return free if free <= blocks else 0


def room(survey: dict[str, Any]) -> bool:
    """Whether flash has room for what the device keeps: records in two slots, and blocks to move them."""
    return free_blocks(survey) >= 6


def _roots(board: RawRepl, facts: Facts) -> dict[str, list[bytes]]:
    _sweep(board)
    try:
        board.run(f"request = {facts.config['roots']!r}")
        said = board.run((ONBOARD / "doctor_roots.py").read_text(), PATIENCE_S)
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("[")]
        return {path: ders(base64.b64decode(text)) for path, text in lines}
    except Lost:
        raise
    except (RuntimeError, ValueError) as e:
        facts.faults["roots"] = str(e)
        return {}


def _programs(there: dict[str, str | None]) -> list[str]:
    """main.py, and a boot.py of the maker's own: ours raises only where the library does not load."""
    ours = {hashlib.sha256(text).hexdigest() for text in ((ROOT / "boot.py").read_bytes(), STUB.encode())}
    return [name for name in ("boot.py", "main.py") if there[name] not in (None, *ours)]


def _run(board: RawRepl, name: str) -> str:
    """Runs a program of the board's for a while. Returns how it ended, "" if it ran on. Raises Gone, Lost."""
    _sweep(board)
    board.run(f"request = {name!r}")
    start = time.monotonic()
    said, interrupted = b"", False
    for piece in board.output((ONBOARD / "doctor_run.py").read_bytes()):
        said += piece
        passed = time.monotonic() - start
        if RESTARTED.search(said) or b"raw REPL" in said:
            raise Gone("it reset the board, or sent it to sleep")
        if passed > RUN_S + END_S:
            raise Gone  # it runs on, and catches every Ctrl-C
        if passed > RUN_S and not interrupted:
            board.line.write(INTERRUPT)
            interrupted = True
    if interrupted:
        return ""
    traceback = said.partition(END)[2].strip(END).decode(errors="replace").replace("\r\n", "\n")
    return f"it raised {place(traceback)}" if traceback.strip() else ENDED


def place(traceback: str) -> str:
    """Type and place of an exception, never its words: those may hold a secret."""
    frames = list(FRAME.finditer(traceback))
    found = KIND.search(traceback, frames[-1].end() if frames else 0)
    kind = found[1] if found else "an exception"
    if not frames:
        return kind
    file, line, function = frames[-1].groups()
    return printable(f"{kind} {file}, line {line}{function or ''}")
