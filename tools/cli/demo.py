"""The main job, shown: python3 -m tools demo."""

from __future__ import annotations

import json
import re
import secrets
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from rich.console import Console
from rich.table import Table

from tools.board import Board, BoardError
from tools.cloud import Cloud, Device
from tools.common.vm import choose_vm
from tools.factory.product import board_image

SECRET_INFO = "/v2/customer/device/secret/info"
REPORT = "/v2/customer/device/report"

# Twelve hours are long for a demonstration. After a failure the deadline keeps the next try near.
PERIOD_S, JITTER_S, DEADLINE_S = 3, 1, 12
HEARTBEATS = 3
SHARED = secrets.token_hex(32)
# What a maker's own program on the board does with Coze, in the REPL after the agent was stopped.
TALK = """\
import json
from muster import http, jwt
from muster.clouds.coze import Coze

with open("/coze.json") as f:
    known = json.load(f)
coze = Coze(http.Session("/roots"), known["client_id"], known["key_id"], known["private_key"],
            device_id=known["device_id"], base_url=known["base_url"])
coze.access_token()
print("token: bought")
for piece in coze.chat_text("bot-1", "user-1", known["question"]):
    print("piece:", piece)
print("chat: done")
print("hs256:", jwt.encode({"sub": known["device_id"]}, known["shared"]))
"""
QUESTION = "你好"

REFUSALS = {"foreign": "no trusted root has signed it", "misnamed": "it is for another name"}


def run(vm: str | None) -> bool:
    """Runs the whole story and prints it. Returns whether all of it held."""
    with tempfile.TemporaryDirectory(prefix="muster-demo-") as folder:
        story = Story(Path(folder), vm)
        try:
            story.tell()
        except BoardError as e:
            story.check("the story came to its end", False, str(e))
        return story.verdict()


@dataclass
class Story:
    folder: Path
    vm: str | None
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    checks: list[tuple[str, bool, str]] = field(default_factory=list)

    def check(self, what: str, held: bool, measured: str = "") -> None:
        self.checks.append((what, held, measured))
        self.console.print(
            f"  [{'green' if held else 'red'}]{'yes' if held else 'NO '}[/]  {what}  [dim]{measured}[/]"
        )

    def say(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/]")

    def tell(self) -> None:
        device = Device("1234567890123", secrets.token_hex(8), "SN", "AI-SPEAKER-0001")
        with Cloud([device]) as cloud:
            self.say(f"China Mobile's platform in a box is up at {cloud.url}")
            app = cloud.new_coze_app()
            talk = {"/talk.py": TALK.encode(), "/coze.json": self.coze(cloud, app, device)}
            source = choose_vm(self.vm) == "cpython"
            image = board_image(self.config(cloud, device), [cloud.ca_pem], more=talk, source=source)
            with Board(self.folder / "board", image, vm=self.vm) as board:
                self.say(f"A board is switched on for the first time; its clock says 2000. ({board.what})")
                self.first_life(cloud, board)
                self.say("The plug is pulled, and put back")
                self.power_cut(cloud, board)
                self.say("Somebody else answers in the platform's place")
                self.impostor(cloud, board)
                self.say("Ctrl-C, and the board talks to Coze with a key of its own")
                self.conversation(cloud, board, device)

    def config(self, cloud: Cloud, device: Device) -> dict:
        wifi = [{"ssid": "muster-lab", "key": "password"}]
        often = {"period": PERIOD_S, "jitter": JITTER_S, "spread": 0, "deadline": DEADLINE_S}
        return device.config(cloud.url, wifi=wifi, clouds=["coze"], **often)

    def coze(self, cloud: Cloud, app: dict, device: Device) -> bytes:
        known = {"device_id": device.device_no, "base_url": cloud.url, "question": QUESTION}
        return json.dumps({**app, **known, "shared": SHARED}).encode()

    def first_life(self, cloud: Cloud, board: Board) -> None:
        started = time.monotonic()
        board.wait_for("enrolled")
        enrolled = time.monotonic() - started
        board.wait_for("reported")
        reported = time.monotonic() - started
        self.check("it fetched its secret over verified TLS", True, f"{enrolled:.2f} s after power-on")
        self.check("its first heartbeat was accepted", True, f"{reported:.2f} s after power-on")
        with self.console.status("waiting for more heartbeats"):
            for _ in range(HEARTBEATS - 1):
                board.wait_for("reported", timeout=PERIOD_S + JITTER_S + 5)
        times = [call["time"] for call in cloud.calls(REPORT)]
        intervals = [times[i + 1] - times[i] for i in range(len(times) - 1)]
        # The board counts in whole seconds, so an interval may look a second off.
        on_time = all(PERIOD_S - JITTER_S - 1 <= i <= PERIOD_S + JITTER_S + 1.5 for i in intervals)
        shown = ", ".join(f"{i:.1f} s" for i in intervals)
        self.check(f"heartbeats come every {PERIOD_S} ± {JITTER_S} s", on_time, shown)

    def power_cut(self, cloud: Cloud, board: Board) -> None:
        board.cut_power()
        kept = secret_on(board)
        self.check("the secret is on flash", bool(kept), "masked here")
        due = next_on(board)
        before = len(cloud.calls(REPORT))
        started = time.monotonic()
        board.start()
        with self.console.status("waiting for the next heartbeat"):
            board.wait_for("reported", timeout=PERIOD_S + JITTER_S + 8)
        back = cloud.calls(REPORT)[before:]
        ahead = back[0]["time"] - due
        self.check("it reported again by itself", True, f"{time.monotonic() - started:.2f} s after power-on")
        self.check("and not before that was due", ahead > -1, f"{ahead:+.1f} s")
        fetched = len(cloud.calls(SECRET_INFO))
        self.check("the secret was fetched once in all", fetched == 1, f"{fetched} call")
        self.check("and is still the same", secret_on(board) == kept)

    def impostor(self, cloud: Cloud, board: Board) -> None:
        for certificate, reason in REFUSALS.items():
            cloud.misbehave(certificate=certificate)
            before = len(cloud.calls())
            with self.console.status("waiting for the next heartbeat"):
                board.wait_for(reason, timeout=30)
            sent = len(cloud.calls()) - before
            self.check(f"a server with a {certificate} certificate is refused", True, reason)
            self.check("and gets not a byte of a request", sent == 0)
        cloud.behave()
        with self.console.status("waiting for the next heartbeat"):
            board.wait_for("reported", timeout=45)
        self.check("with the platform back, the heartbeats go on", True)

    def conversation(self, cloud: Cloud, board: Board, device: Device) -> None:
        board.write(b"\x03")
        board.wait_for(">>> ")
        started = time.monotonic()
        board.write(b"import talk\r")
        board.wait_for("token: bought")
        bought = time.monotonic() - started
        self.check("a JWT signed on the board (RS256) buys a token", True, f"{bought:.2f} s")
        chat = board.wait_for(re.compile("(?s)piece: .*chat: done")).group()
        pieces = re.findall("piece: (.*)", chat)
        told = f"{len(pieces)} pieces: {''.join(pieces)}"
        self.check("a chat streams its answer", QUESTION in "".join(pieces) and len(pieces) > 1, told)
        billed = [usage["device_id"] for usage in cloud.state()["coze"]["usage"]]
        self.check("and is billed to this device", billed == [device.device_no], ", ".join(billed))
        token = board.wait_for(re.compile(r"hs256: (\S+)\n")).group(1)
        claims = jwt.decode(token, SHARED, ["HS256"])
        self.check("PyJWT accepts its HS256 token", claims == {"sub": device.device_no}, str(claims))

    def verdict(self) -> bool:
        table = Table(title="\nWhat was checked", title_justify="left")
        for column in ("", "check", "measured"):
            table.add_column(column, overflow="fold")
        for what, held, measured in self.checks:
            table.add_row("[green]held[/]" if held else "[red]FAILED[/]", what, measured)
        self.console.print(table)
        failed = sum(not held for _, held, _ in self.checks)
        self.console.print(f"{len(self.checks) - failed} held, {failed} failed")
        return failed == 0


def record(board: Board, name: str) -> dict:
    """The newest record of that name on the board's flash, read as a stranger would: two slots of JSON."""
    slots = [data for path, data in board.files().items() if path.startswith(f"/state/{name}.")]
    newest = max(slots, key=lambda data: int.from_bytes(data[4:8], "little"), default=b"")
    return json.loads(newest[10:] or "{}")


def secret_on(board: Board) -> str | None:
    return record(board, "credentials").get("deviceSecret")


def next_on(board: Board) -> int:
    return record(board, "schedule").get("next", 0)
