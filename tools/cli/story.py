"""The story that `demo` tells: the main job, and what may happen to a device, in seven acts."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import signal
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from rich.console import Console
from rich.markup import escape

from tools.board import Board, BoardError
from tools.cloud import Cloud, Device
from tools.common import littlefs
from tools.common.records import newest
from tools.common.vm import choose_vm
from tools.factory import release
from tools.factory.keys import public_pem
from tools.factory.product import BLOCKS, board_files, board_image, built

SECRET_INFO = "/v2/customer/device/secret/info"
REPORT = "/v2/customer/device/report"

# Twelve hours are long for a demonstration. After a failure the deadline keeps the next try near.
PERIOD_S, JITTER_S, DEADLINE_S = 3, 1, 12
HEARTBEATS = 3
SHARED = secrets.token_hex(32)
DEVICE = Device("1234567890123", secrets.token_hex(8), "SN", "AI-SPEAKER-0001")
WIFI = [{"ssid": "muster-lab", "key": "password"}]
# A second one does not know its buyer's Wi-Fi.
GIVEN = Device(DEVICE.product_id, DEVICE.product_key, "SN", "AI-SPEAKER-0002")
# A third one is sold: it reports twice a day, as the platform wants it, and looks for releases.
SOLD = Device(DEVICE.product_id, DEVICE.product_key, "SN", "AI-SPEAKER-0003")
SETUP = {"key": "ABCDE23456", "name": "speaker", "address": "192.168.4.1"}
HOME: dict[str, Any] = {"ssid": "我家", "key": "correct horse", "rssi": -45}
HOUR_S = 3600
LOOK_S = 0.2
CRASHING = b"import machine\n\nmachine.reset()  # as a crash would\n"
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


NEXT = """
What to try next:
  python3 -m tools demo --keep     the same, and then a cloud and a board to look at until Ctrl-C
  python3 -m tools board --setup   the page on which a buyer gives a board its Wi-Fi, in your browser
  python3 -m tools cloud           the clouds alone, for boards and programs of yours
  README.md has "Your first board", the same with one on your desk."""


def tell(vm: str | None, keep: bool = False) -> bool:
    """Tells the whole story, with a verdict. Returns whether all of it held.

    vm: as Board takes it. keep: the clouds and the first board stay on after it, until Ctrl-C.
    """
    with tempfile.TemporaryDirectory(prefix="muster-demo-") as name:
        folder = Path(name)
        releases = folder / "release"
        releases.mkdir()
        with Cloud([DEVICE, GIVEN, SOLD], release=releases) as cloud:
            story = Story(cloud, Board(folder / "board", image(cloud, vm), vm=vm))
            with story.board:
                try:
                    story.tell()
                    story.at_home(folder / "given", vm)
                    if story.board.vm == "micropython":
                        story.updates(Maker(cloud, releases), folder / "sold")
                    else:
                        story.say("Without MicroPython no board takes an update: that act is left out")
                except BoardError as e:
                    story.check("the story came to its end", False, str(e))
                held = story.verdict()
                if keep:
                    story.keep()
                else:
                    story.console.print(NEXT)
            return held


def image(cloud: Cloud, vm: str | None) -> bytes:
    """A flash with the product, and what a maker's own program needs to talk to Coze."""
    often = {"period": PERIOD_S, "jitter": JITTER_S, "spread": 0, "deadline": DEADLINE_S}
    config = DEVICE.config(cloud.url, wifi=WIFI, clouds=["coze"], **often)
    known = {"device_id": DEVICE.device_no, "base_url": cloud.url, "question": QUESTION, "shared": SHARED}
    account = json.dumps({**cloud.new_coze_app(), **known}).encode()
    more = {"/talk.py": TALK.encode(), "/coze.json": account}
    return board_image(config, [cloud.ca_pem], more=more, source=choose_vm(vm) == "cpython")


class Maker:
    """Who has sold a product, and releases others in its place. files: of the product, path -> content."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self._folder = folder
        self._key = rsa.generate_private_key(65537, 2048)
        url = f"{cloud.url}/release/{release.MANIFEST}"
        looks = {"url": url, "period": HOUR_S}
        self._config = SOLD.config(cloud.url, wifi=WIFI, spread=0, updates=looks)
        public = {"maker": public_pem(self._key.public_key())}
        self.files = board_files(self._config, [cloud.ca_pem], keys=public)

    def release(self, version: str, main: bytes) -> None:
        """Offers the product with another main.py."""
        release.make(self._folder, self._key, {**self.files, "/main.py": main}, self._config, version)


@dataclass
class Story:
    cloud: Cloud
    board: Board
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
        self.say(f"The clouds in a box are up; their page is {self.cloud.url}/")
        self.say(f"A board is switched on for the first time; its clock says 2000. ({self.board.what})")
        self.console.print(f"  its serial port is {escape(str(self.board.port_link))}")
        self.first_life()
        self.say("The plug is pulled, and put back")
        self.power_cut()
        self.say("Somebody else answers in the platform's place")
        self.impostor()
        self.say("Ctrl-C, and the board talks to Coze with a key of its own")
        self.conversation()

    def stored(self, record: str) -> dict:
        """What the board has on its flash."""
        return newest(self.board.files(), record)

    def first_life(self) -> None:
        started = time.monotonic()
        self.board.wait_for("enrolled")
        enrolled = time.monotonic() - started
        self.board.wait_for("reported")
        reported = time.monotonic() - started
        self.check("it fetched its secret over verified TLS", True, f"{enrolled:.2f} s after power-on")
        self.check("its first heartbeat was accepted", True, f"{reported:.2f} s after power-on")
        with self.console.status("waiting for more heartbeats"):
            for _ in range(HEARTBEATS - 1):
                self.board.wait_for("reported", timeout=PERIOD_S + JITTER_S + 5)
        times = [call["time"] for call in self.cloud.calls(REPORT)]
        intervals = [times[i + 1] - times[i] for i in range(len(times) - 1)]
        # The board counts in whole seconds, so an interval may look a second off.
        on_time = all(PERIOD_S - JITTER_S - 1 <= i <= PERIOD_S + JITTER_S + 1.5 for i in intervals)
        shown = ", ".join(f"{i:.1f} s" for i in intervals)
        self.check(f"heartbeats come every {PERIOD_S} ± {JITTER_S} s", on_time, shown)

    def power_cut(self) -> None:
        self.board.cut_power()
        kept = self.stored("credentials").get("deviceSecret")
        self.check("the secret is on flash", bool(kept), "masked here")
        due = self.stored("schedule").get("next", 0)
        before = len(self.cloud.calls(REPORT))
        started = time.monotonic()
        self.board.start()
        with self.console.status("waiting for the next heartbeat"):
            self.board.wait_for("reported", timeout=PERIOD_S + JITTER_S + 8)
        back = self.cloud.calls(REPORT)[before:]
        ahead = back[0]["time"] - due
        self.check("it reported again by itself", True, f"{time.monotonic() - started:.2f} s after power-on")
        self.check("and not before that was due", ahead > -1, f"{ahead:+.1f} s")
        fetched = len(self.cloud.calls(SECRET_INFO))
        self.check("the secret was fetched once in all", fetched == 1, f"{fetched} call")
        self.check("and is still the same", self.stored("credentials").get("deviceSecret") == kept)

    def impostor(self) -> None:
        for certificate, reason in REFUSALS.items():
            self.cloud.misbehave(certificate=certificate)
            before = len(self.cloud.calls())
            with self.console.status("waiting for the next heartbeat"):
                self.board.wait_for(reason, timeout=30)
            sent = len(self.cloud.calls()) - before
            what = f"a server with a {certificate} certificate is refused before a byte is sent"
            self.check(what, sent == 0, reason)
        self.cloud.behave()
        with self.console.status("waiting for the next heartbeat"):
            self.board.wait_for("reported", timeout=45)
        self.check("with the platform back, the heartbeats go on", True)

    def conversation(self) -> None:
        self.board.write(b"\x03")
        self.board.wait_for(">>> ")
        started = time.monotonic()
        self.board.write(b"import talk\r")
        self.board.wait_for("token: bought")
        bought = time.monotonic() - started
        self.check("a JWT signed on the board (RS256) buys a token", True, f"{bought:.2f} s")
        chat = self.board.wait_for(re.compile("(?s)piece: .*chat: done")).group()
        pieces = re.findall("piece: (.*)", chat)
        told = f"{len(pieces)} pieces: {''.join(pieces)}"
        self.check("a chat streams its answer", QUESTION in "".join(pieces) and len(pieces) > 1, told)
        billed = [usage["device_id"] for usage in self.cloud.state()["coze"]["usage"]]
        self.check("and is billed to this device", billed == [DEVICE.device_no], ", ".join(billed))
        token = self.board.wait_for(re.compile(r"hs256: (\S+)\n")).group(1)
        claims = jwt.decode(token, SHARED, ["HS256"])
        self.check("PyJWT accepts its HS256 token", claims == {"sub": DEVICE.device_no}, str(claims))

    def at_home(self, folder: Path, vm: str | None) -> None:
        """A board that is kept in the folder is given its buyer's Wi-Fi."""
        config = GIVEN.config(self.cloud.url, wifi=[], setup=SETUP)
        source = choose_vm(vm) == "cpython"
        neighbour = {"ssid": "neighbour", "key": "their own", "rssi": -80}
        self.say("A second board comes to its buyer's home, and knows no Wi-Fi there")
        air = [neighbour, HOME]
        with Board(folder, board_image(config, [self.cloud.ca_pem], source=source), vm=vm, air=air) as board:
            page = board.wait_for_portal()
            point = board.access_point or {}
            self.check("it opens an access point of its own, with a page", True, f"Wi-Fi {point['ssid']}")
            phone = requests.Session()
            phone.headers["Host"] = "captive.apple.com"
            probe = phone.get(page + "hotspot-detect.html", allow_redirects=False)
            found = probe.headers["Location"]
            self.check(
                "a phone that joins it is led to the page", found == f"http://{SETUP['address']}/", found
            )
            phone.headers["Host"] = SETUP["address"]
            shown = phone.get(page).content.decode()
            self.check("which shows the networks around", HOME["ssid"] in shown, "the strongest first")
            token = re.findall("name=token value=([0-9a-f]+)", shown)[0]
            form = {"token": token, "ssid": HOME["ssid"].encode().hex(), "key": HOME["key"]}
            started = time.monotonic()
            phone.post(page, form, allow_redirects=False)
            with self.console.status("waiting for the board to join"):
                while (state := phone.get(page + "state").json()["state"]) in ("trying", "joined"):
                    time.sleep(0.2)
            took = f"{time.monotonic() - started:.2f} s"
            self.check(
                "its buyer fills the form, and the page says that it is online", state == "reached", took
            )
            board.pass_time(60)
            board.wait_for("reported")
            self.check("the page has closed, and its heartbeat is accepted", board.portal is None)
            board.reset()
            board.wait_for("muster: the next report is due")
            self.check("after a reset it joins by itself", board.portal is None)

    def updates(self, maker: Maker, folder: Path) -> None:
        """maker: of the board that is sold, which is kept in the folder."""
        main = maker.files["/main.py"]
        self.say("A third board is sold; later its maker releases version 1.1, signed")
        with Board(folder, littlefs.build(maker.files, BLOCKS, built())) as board:
            board.wait_for("reported")
            before = self.version()
            maker.release("1.1", b"print('the new program')\n" + main)
            started = self.take(board)
            board.wait_for("the new program")
            took = f"{time.monotonic() - started:.2f} s"
            self.check("it verifies the release, fetches what is new, and restarts with it", True, took)
            board.wait_for("build 1 stays")
            board.wait_for("reported")
            told = self.version()
            self.check("its heartbeat tells the new version", told == "1.1", f"{before}, then {told}")
            page = requests.get(self.cloud.url, {"find": SOLD.device_no}, verify=str(self.cloud.ca_pem)).text
            self.check("and the platform's page shows it", f">{told}</td>" in page)

            self.say("Version 1.2 crashes at every start")
            maker.release("1.2", CRASHING)
            started = self.take(board)
            starts = board.wait_for(re.compile("(?s).*build 2 crashed: the one before is back"))[0]
            # The chip resets for the trial as well, and for the way back.
            crashes = starts.count("SW_CPU_RESET") - 2
            took = f"{time.monotonic() - started:.2f} s"
            self.check("after three crashes the build before is back, by itself", crashes == 3, took)
            board.wait_for("reported")
            told = self.version()
            self.check("its heartbeat tells the version before", told == "1.1", told)
            board.write(b"\x03")
            board.wait_for(">>> ")
            board.write(b"agent.status()['refused_build']\r")
            refused = board.wait_for(re.compile(r"\n(\w+)\n"))[1]
            self.check("and that release is refused for good", refused == "2", f"build {refused}")

    def take(self, board: Board) -> float:
        """Lets hours pass until the board takes a release. Returns when it looked for one."""
        started = time.monotonic()
        board.pass_time(3 * HOUR_S)
        with self.console.status("waiting for the board to take the release"):
            board.wait_for("starts on trial")
        return started

    def version(self) -> str:
        """What the board that is sold has told."""
        devices = self.cloud.state()["devices"]
        [params] = [device["params"] for device in devices if device["deviceNo"] == SOLD.device_no]
        return params["firmwareVersion"]

    def verdict(self) -> bool:
        failed = sum(not held for _, held, _ in self.checks)
        self.console.print(f"\n{len(self.checks) - failed} held, {failed} failed")
        return failed == 0

    def keep(self) -> None:
        """Leaves the clouds and the first board on until Ctrl-C, or until the board ends."""
        # A shell that starts it in the background makes it ignore SIGINT.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.board.write(b"\x04")  # it is at its prompt: its programs start again
        port = escape(str(self.board.port_link))
        self.console.print(
            f"\nThe clouds and the first board stay on until Ctrl-C; it reports every {PERIOD_S} s.\n"
            f"  page         {self.cloud.url}/  (its CA is {escape(str(self.cloud.ca_pem))})\n"
            f"  serial port  {port}  (.venv/bin/mpremote connect {port})"
        )
        with contextlib.suppress(KeyboardInterrupt):
            while self.board.running:
                time.sleep(LOOK_S)
