"""An ESP32 and all that surrounds it, in virtual time. For a process of its own.

install() puts the chip's modules into sys.modules and imports the shipped library on top of them, so that
not a line of it is changed: its clock reads this time and sets this RTC, its NTP goes through this socket,
its Wi-Fi is this air, its records lie in this NVS. Only the session is handed to the agent: it stands for
muster.http's as far as time and outcome go.

Time is an int of milliseconds, and jumps from event to event: while nothing happens, the agent's own loop
sleeps a whole pause at once in place of a second at a time.

The agent, its loop (run() or task()), schedule, clock, store, board, wait and clouds/chinamobile are what
is tried here. Sockets and TLS are not; of net.trust that which finds the roots that fit a chain is. The
platform's CA changes once, and whether a chain is good is cryptography's to say.
"""

from __future__ import annotations

import calendar
import contextlib
import functools
import gc
import io
import math
import os
import random
import struct
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from tools.common.certificates import make_ca, make_server
from tools.common.paths import ROOT

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
Y2000 = 946684800
NTP_EPOCH = 2208988800
TICKS = 1 << 30
EXCHANGE = 10 * SECOND  # muster.http.Session's timeout
LOST = 0.001  # share of requests, and of answers, that vanish
NO_MEMORY = 0.0005  # and of exchanges for which a board's heap does not suffice
PATIENCE = 4 * HOUR  # three failed tries close to the deadline, until Wi-Fi is joined anew
RELEASED = 1795305600
CONFIG: dict[str, Any] = {
    "wifi": [{"ssid": "home", "key": "password"}],
    "productId": "1234567890123",
    "productKey": "k3yk3yk3y",
    "deviceNo": "AI-0000",
    "cmei": "111234560000018",
    "firmwareVersion": "1.0",
    "store": "nvs",
}

# What is on flash: a root that verifies nobody, the platform's, the one that it changes to, and another.
ROOTS = [make_ca(f"root {n}", path_length=None) for n in range(4)]
FILES = {f"/roots/{n}.der": root for n, root in enumerate(ROOTS)}
BEFORE, AFTER, STRANGER, IMITATOR = (
    make_server("platform", signer=make_ca("an authority", signer, path_length=None)).chain[:2]
    for signer in (*ROOTS[1:3], make_ca("a stranger", path_length=None), make_ca("root 3", path_length=None))
)

world: VirtualWorld  # the one that is being lived in
muster: Any  # what install() makes: the library, its classes with this world around them, and a file
VirtualSession: Any
WatchedAgent: Any
BUILT: Any


class PowerCut(BaseException):
    """The power is gone: no exception that a program could catch on a board."""


class Reset(BaseException):
    """A reset: RAM is lost, the RTC runs on."""


class End(BaseException):
    """The time that was to be watched is over."""


class VirtualWorld:
    """One device, its home and its servers.

    seed     decides all that happens
    days     how long it is watched
    judge    is told what happens: see endure.years.Judge
    leaps    False lets the agent's loop turn every second, as on a board
    spare    False leaves the root that the platform changes to off the flash
    """

    def __init__(self, seed: int, days: float, judge: Any, leaps: bool = True, spare: bool = True) -> None:
        global world
        world = self
        rng = self.rng = random.Random(seed)
        self.leaps = leaps
        self.judge = judge
        # From the library's first day over the edges of 2034, 2036 and 2038.
        self.now = self.born = RELEASED * 1000 + rng.randrange(12 * 365 * DAY)
        self.ends = self.born + int(days * DAY)
        self.draw_circumstances()
        self.roots = [path for n, path in enumerate(FILES) if spare or n != 2]
        self.chain, self.foreign = BEFORE, STRANGER
        self.timeline = sorted(self.draw_events(), key=lambda event: event[0], reverse=True)
        self.power, self.wifi, self.internet = True, True, True
        self.deaf = False
        self.server, self.ntp_lie, self.date_lie, self.flash_full = "ok", 0, 0, False
        self.ntp = not self.ntp_blocked
        self.nvs: dict[str, bytes] = {}
        self.agent: Any = None
        self.switch_on()

    # What may happen to it

    def draw_circumstances(self) -> None:
        rng = self.rng
        self.policy = "daily" if rng.random() < 0.25 else "interval"
        self.as_task = rng.random() < 0.1
        self.ppm = rng.choice((0, 0, 5, -10, 40, -40, 100, -100))
        self.home = rng.choice(("mains", "mains", "flaky", "toy", "drawer"))
        self.ntp_blocked = rng.random() < 0.2
        self.sends_dates = rng.random() < 0.92
        self.latency = rng.choice((30, 100, 300))
        self.life, self.renewal = rng.choice(((90 * DAY, 60 * DAY), (395 * DAY, 365 * DAY)))
        self.renewed = rng.randrange(self.renewal)
        self.config = dict(CONFIG, policy=self.policy)
        self.identity = 0

    def draw_events(self) -> Iterator[tuple[int, str, Any]]:
        """(when, which attribute, its new value), in no order."""
        rng = self.rng
        yield self.ends, "over", True
        yield rng.randrange(self.born, self.ends), "chain", AFTER
        yield from self.draw_spans("foreign", DAY, DAY, DAY, lambda: IMITATOR, STRANGER)
        up, shortest, longest = {
            "mains": (30 * DAY, SECOND, 2 * DAY),
            "flaky": (10 * HOUR, SECOND, 5 * HOUR),
            "toy": (2 * HOUR, 2 * HOUR, 30 * HOUR),
            "drawer": (5 * DAY, DAY, 60 * DAY),
        }[self.home]
        yield from self.draw_spans("power", up, shortest, longest, lambda: False, True)
        yield from self.draw_spans("reset", 20 * DAY, 0, 0, lambda: True, None)
        yield from self.draw_spans("wifi", 8 * DAY, MINUTE, 3 * DAY, lambda: False, True)
        yield from self.draw_spans("internet", 4 * DAY, 10 * SECOND, 2 * DAY, lambda: False, True)
        # A Wi-Fi that says it is connected, and lets nothing through until it is joined anew.
        yield from self.draw_spans("deaf", 30 * DAY, PATIENCE, PATIENCE, lambda: True, False)
        # Somebody switches the router on and off, and on and off.
        yield from self.draw_spans("internet", 40 * DAY, SECOND, MINUTE, lambda: False, True)
        kinds = ("refused", "dead", "slow", "500", "code", "html", "garbage", "list", "expired", "foreign")
        yield from self.draw_spans("server", 3 * DAY, MINUTE, 6 * HOUR, lambda: rng.choice(kinds), "ok")
        if not self.ntp_blocked and rng.random() < 0.4:
            yield from self.draw_spans("ntp", 2 * DAY, 10 * MINUTE, 5 * DAY, lambda: False, True)
        if rng.random() < 0.15:
            yield from self.draw_spans("ntp_lie", 30 * DAY, 10 * MINUTE, 3 * DAY, self.draw_lie, 0)
        if rng.random() < 0.1:
            yield from self.draw_spans("date_lie", 30 * DAY, MINUTE, DAY, self.draw_lie, 0)
        if rng.random() < 0.15:
            yield from self.draw_spans("rtc_set", 15 * DAY, 0, 0, self.draw_lie, None)
        if rng.random() < 0.05:
            yield from self.draw_spans("flash_full", 40 * DAY, HOUR, 20 * DAY, lambda: True, False)
        if rng.random() < 0.05:
            yield rng.randrange(self.born, self.ends), "identity", 1
        if self.policy == "daily":
            for day in range(self.born, self.ends, DAY):
                for _ in range(rng.choice((0, 0, 1, 2, 5))):
                    yield day + rng.randrange(DAY), "use", True

    def draw_spans(self, name: str, up: int, shortest: int, longest: int, bad: Any, good: Any) -> Iterator:
        """Good for up on average, bad for shortest to longest, evenly over orders of magnitude; and again."""
        at = self.born
        while True:
            at += 1 + int(self.rng.expovariate(1 / up))
            if at >= self.ends:
                return
            yield at, name, bad()
            if longest:
                at += int(shortest * (longest / shortest) ** self.rng.random())
                yield at, name, good

    def draw_lie(self) -> int:
        """Seconds, from a few to ten years, either way."""
        return self.rng.choice((1, -1)) * int(3 * (100_000_000 ** self.rng.random()))

    @property
    def online(self) -> bool:
        return self.wlan.isconnected() and self.internet and not self.wlan.deaf

    # Time

    def advance(self, ms: int) -> None:
        """Lets so much time pass, and everything happen that happens in it."""
        until = self.now + ms
        while self.timeline and self.timeline[-1][0] <= until:
            at, name, value = self.timeline.pop()
            self.now = max(self.now, at)
            self.happen(name, value)
        self.now = until

    def happen(self, name: str, value: Any) -> None:
        if name == "over":
            raise End
        elif name == "power":
            was, self.power = self.power, value
            if was and not value:
                raise PowerCut
        elif name == "reset":
            if self.power:
                raise Reset
        elif name == "deaf":
            self.wlan.deaf = self.wlan.deaf or value
            self.deaf = value
            self.changed()
        elif name == "wifi":
            self.wifi = value
            # The driver looks for it again by itself, but not always.
            self.wlan.wanted = self.wlan.wanted and self.rng.random() < 0.5
            self.changed()
        elif name == "use":
            if self.agent:
                self.agent.used()
                self.judge.used()
        elif name == "rtc_set":
            if not muster.clock.trusted():
                self.judge.offered(False)
            self.rtc_base += value * 1000
        else:
            setattr(self, name, value)
            self.changed()

    def changed(self) -> None:
        up = self.power and self.wifi and self.internet and self.server == "ok"
        up = up and not (self.deaf and self.wlan.deaf)
        self.judge.surroundings(up and not self.ntp_lie and not self.date_lie)

    def sleep(self, ms: int) -> None:
        """What the board's sleep() does; the nap between two steps of the agent lasts a whole pause."""
        pause, self.pause = self.pause, None
        if pause is not None and self.fed != self.now:
            self.judge.fail("watchdog", "it is not fed between two steps")
        if pause is None:
            # join() naps 15 s for a Wi-Fi that is away, and then until one is joined.
            self.advance(max(ms, self.wlan.since - self.now) if self.wifi else 5 * SECOND)
        elif pause == 0 or not self.leaps:
            self.advance(max(ms, 1))
        else:
            until = self.now + pause * SECOND
            if self.timeline and self.timeline[-1][0] < until:
                # As on a board, the second in which something happens is slept to its end.
                until = self.now - (self.now - self.timeline[-1][0]) // SECOND * SECOND
            self.advance(max(until - self.now, SECOND))
            self.fed = self.now

    def crystal(self) -> int:
        """Milliseconds since the power came, as the board's crystal counts them."""
        return (self.now - self.on_at) * (1_000_000 + self.ppm) // 1_000_000

    def device_time(self) -> int:
        """Unix milliseconds by the board's clock."""
        return self.rtc_base + self.crystal()

    # The board

    def switch_on(self) -> None:
        self.on_at, self.reset_at = self.now, 0
        self.rtc_base = Y2000 * 1000
        self.pause: int | None = None
        self.watchdog = 0
        self.wlan: Wlan = Wlan()

    def live(self) -> None:
        """Boots and runs the agent, again and again, until the time is over."""
        try:
            while True:
                while not self.power:
                    self.advance(self.timeline[-1][0] - self.now)
                    if self.power:
                        self.switch_on()
                with contextlib.suppress(PowerCut, Reset):
                    self.run()
                self.judge.stopped()
                self.agent = self.pause = None
                self.reset_at = self.crystal()
        except End:
            self.judge.over()

    def run(self) -> None:
        try:
            self.boot()
        except Exception as e:
            self.judge.fail("alive", f"an exception ended run(): {e!r}")
            self.advance(120 * SECOND)  # the watchdog's

    def boot(self) -> None:
        """boot.py and main.py, with the configuration and the session from here."""
        forget()
        self.fed = self.now
        number = f"AI-{self.identity:04}"
        self.judge.booted(cold=self.reset_at == 0, new_identity=number != self.config["deviceNo"])
        self.config["deviceNo"] = number
        self.changed()
        muster.clock.set_from_file(BUILT.fileno())
        if not muster.board.connected():
            muster.net.wait.run(muster.board.join(self.config["wifi"], "", 6000))
        muster.board.watchdog(120)
        self.agent = WatchedAgent(self.config, session=VirtualSession())
        if self.as_task:
            self.agent.task().send(None)
        else:
            self.agent.run()

    def certificate(self) -> tuple[int, int]:
        """notBefore and notAfter of the one that the server shows now, Unix seconds."""
        since = (self.now - self.renewed) // self.renewal * self.renewal + self.renewed
        return since // 1000 - 3600, (since + self.life) // 1000


class Wlan:
    """network.WLAN in station mode: it comes back by itself where it was."""

    wanted = False
    deaf = False
    since = 0

    def active(self, on=None):
        return True

    def isconnected(self):
        return self.wanted and world.wifi and world.now >= self.since

    def connect(self, ssid, key):
        if world.rng.random() < 0.01:
            raise OSError("Wifi Internal State Error")
        self.wanted, self.since = True, world.now + 2 * SECOND

    def disconnect(self):
        self.wanted = False
        if self.deaf:
            self.deaf = False
            world.changed()

    def config(self, name):
        return bytes.fromhex("240ac4c0ffee") if name == "mac" else "home"

    def ifconfig(self):
        return ("192.168.1.7", "255.255.255.0", "192.168.1.1", "192.168.1.1")


class Rtc:
    def datetime(self, parts):
        year, month, day, _, hour, minute, second, _ = parts
        world.rtc_base += (
            calendar.timegm((year, month, day, hour, minute, second)) * 1000 - world.device_time()
        )


class Wdt:
    def __init__(self, timeout):
        world.watchdog = timeout

    def feed(self):
        if world.now - world.fed > world.watchdog:
            world.judge.fail("watchdog", f"it was not fed for {(world.now - world.fed) // SECOND} s")
        world.fed = world.now


class VirtualNvs:
    """esp32.NVS: a key changes as a whole, or not at all."""

    def __init__(self, namespace):
        pass

    def get_blob(self, key, buffer):
        if key not in world.nvs:
            raise OSError(-4354)
        blob = world.nvs[key]
        buffer[: len(blob)] = blob
        return len(blob)

    def set_blob(self, key, blob):
        world.advance(world.rng.randrange(30))
        world.judge.writes(key)
        if world.flash_full:
            raise OSError(-4357)
        world.nvs[key] = bytes(blob)
        world.judge.wrote()
        world.advance(5)

    def commit(self):
        pass


class Udp:
    """A socket to an NTP server."""

    answer_at = math.inf

    def __init__(self, *_):
        pass

    def setblocking(self, on):
        pass

    def connect(self, address):
        pass

    def close(self):
        pass

    def send(self, data):
        self.nonce = data[40:48]
        if world.ntp and world.online and world.rng.random() < 0.97:
            self.answer_at = world.now + 5 + world.latency

    def recv(self, size):
        seconds = world.now // 1000 + world.ntp_lie
        # An answer from before the library's first day is nothing that anybody believes.
        if seconds >= RELEASED:
            world.judge.offered(not world.ntp_lie)
        stamp = struct.pack("!II", (seconds + NTP_EPOCH) % (1 << 32), 0)
        return b"\x24\x02\x06\xec" + bytes(20) + self.nonce + bytes(8) + stamp

    def wait(self, ms):
        world.advance(min(ms, max(self.answer_at - world.now, 0)))


class Poll:
    def register(self, udp, events):
        self.udp = udp

    def poll(self, ms):
        self.udp.wait(ms)
        return [1] if world.now >= self.udp.answer_at else []


def getaddrinfo(*_):
    if not world.online:
        world.advance(world.rng.choice((1, 200, 5000)))
        raise OSError(-2)
    world.advance(world.rng.randrange(5, 200))
    return [(2, 2, 17, "", ("192.0.2.1", 123))]


class Waiting:
    """Stands for a muster.net.wait.Ready and its socket: what is waited for comes at a time that is known."""

    events = 1

    def __init__(self, until):
        self.until = until
        self.socket = self

    def wait(self, ms):
        world.advance(self.until - world.now)

    poll = wait


class PlatformAnswer:
    def __init__(self, status, body, not_after):
        self.status_code, self.body, self.not_after = status, body, not_after
        self.headers = {}
        if world.sends_dates:
            seconds = world.now // 1000 + world.date_lie
            if 0 <= seconds < 7_000_000_000:
                self.headers["date"] = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))
                world.judge.offered(not world.date_lie)

    def json(self):
        if self.body is None:
            raise ValueError("no JSON")
        return self.body

    def close(self):
        pass


class Exchanges:
    """muster.http.Session towards the platform, as far as outcome and time go."""

    idle = None
    verifies = True

    def __init__(self):
        self.roots = world.roots[:1]  # a board's memory does not hold more, nor outlive a boot

    def close(self):
        pass

    def leave(self, answer, good):
        pass

    def send(self, request):
        w = world
        w.judge.called()
        until = w.now + EXCHANGE
        yield False
        if w.rng.random() < NO_MEMORY:
            w.judge.missed()
            raise MemoryError
        try:
            getaddrinfo()
        except OSError as e:
            raise self.failure(f"the name cannot be looked up ({e})") from None
        moved = turned = False
        while True:
            yield from self.wait(3 * w.latency + w.rng.randrange(500), until)  # TCP and TLS
            if w.server in ("refused", "expired"):
                raise self.failure(w.server)
            chain = w.foreign if w.server == "foreign" else w.chain
            if not is_good(chain, tuple(self.roots)):
                heads = b"".join(certificate.public_bytes(Encoding.DER)[:512] for certificate in chain[::-1])
                found = [] if turned else muster.net.trust.wanted(heads, self.roots, w.roots)
                if not found:
                    raise self.failure("no trusted root has signed it")
                self.roots, turned = found, True
                continue
            w.judge.trusted(chain is w.chain, chain is AFTER)
            starts, ends = w.certificate()
            now = w.device_time() // 1000
            if now >= starts:
                break
            if moved or not muster.clock.set_floor(starts):
                w.judge.refused()
                raise self.misfit("it is not valid yet")
            moved = True
        if now > ends:
            w.judge.refused()
            raise self.misfit("it has expired")
        if w.rng.random() < LOST:
            w.judge.missed()
            yield from self.wait(EXCHANGE, until)
        body = self.body(request.method, request.url, request.data)
        works = w.rng.randrange(30_000) if w.server == "slow" else w.rng.randrange(50, 1000)
        if w.rng.random() < LOST:
            w.judge.missed()
            works = EXCHANGE  # it arrived, and its answer will not
        yield from self.wait(w.latency + works, until)
        if isinstance(body, dict) and "data" in body:
            (w.judge.received if "protocolTypeTime" in body["data"] else w.judge.received_secret)()
        return PlatformAnswer(502 if body is None else 200, body, ends)

    def wait(self, ms, until):
        """Until it comes, or what the network and the server have become lets nothing come any more."""
        w = world
        comes = w.now + ms
        while w.now < min(comes, until):
            yield Waiting(min(comes, until))
        if comes > until or not w.online or w.server == "dead":
            while w.now < until:
                yield Waiting(until)
            raise self.failure("nothing came within 10 s")

    def body(self, method, url, data):
        """What the platform answers to what has reached it just now."""
        w = world
        if w.server in ("500", "html", "garbage"):
            return None
        if w.server == "code":
            return {"code": "500", "success": False, "message": "try later"}
        if w.server == "list":
            return [1]
        if method == "HEAD":
            return None
        if url.endswith("/secret/info"):
            w.judge.fetched()
            number = w.config["deviceNo"]
            found = {"deviceId": "d-" + number, "deviceNo": number, "productId": w.config["productId"]}
            found["deviceSecret"] = "s-" + number
        else:
            assert b'"deviceSecret":"s-%s"' % w.config["deviceNo"].encode() in data
            w.judge.accepted()
            found = {"deviceId": "d-" + w.config["deviceNo"], "protocolTypeTime": "t"}
        return {"code": "200", "success": True, "data": found}

    def misfit(self, why):
        refusal = self.failure("its certificate was refused: " + why)
        refusal.starts = 0  # as muster.net.connection's CertificateDateError has it
        return refusal

    def failure(self, why):
        return muster.errors.TransportError("ivs.chinamobiledevice.com: " + why)


@functools.cache
def is_good(chain: tuple[x509.Certificate, ...], paths: tuple[str, ...]) -> bool:
    """Whether one of these roots has signed the last certificate of the chain, and that the one before."""
    leaf, authority = chain
    leaf.verify_directly_issued_by(authority)
    for path in paths:
        with contextlib.suppress(ValueError, InvalidSignature):
            authority.verify_directly_issued_by(FILES[path].chain[0])
            return True
    return False


def module(name: str, **members: Any) -> None:
    made = types.ModuleType(name)
    vars(made).update(members)
    sys.modules[name] = made


class Loop:
    """asyncio with nobody else in it."""

    async def sleep(self, seconds):
        world.sleep(int(seconds * 1000))

    def add_reader(self, socket, ready):
        self.socket = socket

    def remove_reader(self, socket):
        pass

    def set(self):
        pass

    def call_later(self, seconds, ready):
        self.ms = int(seconds * 1000)
        return self

    def cancel(self):
        pass

    async def wait(self):
        self.socket.wait(self.ms)


def install() -> None:
    """Puts the chip's modules in place and imports the library on top of them, once and for good."""
    global muster, VirtualSession, WatchedAgent, BUILT
    assert "muster" not in sys.modules, "the library was imported before this world was there"
    module(
        "time",
        time_ns=lambda: (world.device_time() - Y2000 * 1000) * 1_000_000,
        gmtime=lambda seconds: time.gmtime(seconds + Y2000)[:8],
        sleep=lambda seconds: world.sleep(int(seconds * 1000)),
        ticks_ms=lambda: (world.crystal() - world.reset_at) % TICKS,
        ticks_add=lambda ticks, delta: (ticks + delta) % TICKS,
        ticks_diff=lambda end, start: (end - start + TICKS // 2) % TICKS - TICKS // 2,
    )
    module("machine", RTC=Rtc, WDT=Wdt, unique_id=lambda: b"")
    module("network", STA_IF=0, WLAN=lambda interface: world.wlan)
    module("esp32", NVS=VirtualNvs)
    module("socket", SOCK_DGRAM=2, getaddrinfo=getaddrinfo, socket=Udp)
    module("select", POLLIN=1, POLLOUT=4, POLLERR=8, POLLHUP=16, poll=Poll)
    loop = Loop()
    module(
        "asyncio",
        sleep=loop.sleep,
        get_running_loop=lambda: loop,
        Event=lambda: loop,
    )
    os.urandom = lambda size: world.rng.randbytes(size)
    # /config.json, as old as the image, and without a name that would outlive a process that is ended.
    BUILT = tempfile.TemporaryFile()  # noqa: SIM115
    os.utime(BUILT.fileno(), (RELEASED - Y2000, RELEASED - Y2000))  # os.stat() counts from 2000 there

    sys.path.insert(0, str(ROOT / "lib"))
    from muster import agent, board, clock, config, errors, flow, log, ntp, nvs, store, wifi  # noqa: F401
    from muster.clouds import chinamobile, refusals  # noqa: F401
    from muster.net import aio, roots, trust, wait  # noqa: F401

    vars(roots)["open"] = lambda path, mode: io.BytesIO(FILES[path].der)

    # The agent collects what it no longer needs, a dozen times for each heartbeat: not all that is loaded.
    gc.freeze()
    sys.modules["time"] = time
    muster = sys.modules["muster"]
    assert clock._EPOCH == Y2000
    log.level = 99

    class VirtualSession(Exchanges, flow.Driver):
        """What drives the agent's flows."""

    class WatchedAgent(agent.Agent):
        """The agent as it ships, and its world sees how long it means to sleep and what it stumbles on."""

        def _step(self, keep):
            pause = yield from super()._step(keep)
            world.pause = pause
            return pause

        def _fail(self, e):
            if not isinstance(e, (errors.TransportError, errors.CloudError, MemoryError)):
                world.judge.fail("alive", f"{e!r} is neither a TransportError nor a CloudError")
            super()._fail(e)

    for name, loaded in sys.modules.items():
        if name.partition(".")[0] == "muster":
            ROM.append((vars(loaded), dict(vars(loaded))))


def forget() -> None:
    """What a reset does to the library's modules: they are as they were imported."""
    for now, first in ROM:
        now.clear()
        now.update(first)


ROM: list[tuple[dict, dict]] = []  # each module's globals, and what they are at first
