"""A board that takes releases, in the MicroPython VM, on a real LittleFS whose power goes as it is told.

Reads one line of JSON: what Lives takes, and "do", [[what, arguments], ...]. Prints a line of JSON: what each
came to. The files on flash decide what happens: boot.py and main.py run from there at each start, and so does
the copy of muster.trial that lies there. A main.py calls a method of Device. The rest of the library is the
host's.
"""

import gc
import json
import os
import random
import sys

import vfs
from flash_in_memory import FlashInMemory
from muster import flow, jwt, last, log, manifest, rsa, staging, store, trial, update  # noqa: F401 - none is reloaded
from muster.errors import TransportError

CUT, POWER, RESET, WATCHDOG = 0, 1, 2, 3
SECRET = {"deviceId": "d1", "deviceSecret": "s3cret"}
RECORD = "/state/credentials"
STARTS = 50  # a device that has not come to rest by then never does
HOST = vfs.VfsPosix()


class Cut(BaseException):
    """The power has gone: no file system and no program takes it for an error of flash."""


class Reset(BaseException):
    """machine.reset()"""


class SwitchedOff(BaseException):
    """Somebody has pulled the plug."""


class Flash(FlashInMemory):
    """Of one start of a board: what that leaves open can write no more after it."""

    def __init__(self, device):
        super().__init__(device.lives.data)
        self.device = device
        self.over = self.gone = False

    def change(self, at, data):
        if self.over:
            return
        if not self.gone:
            self.device.operations += 1
            if self.device.operations != self.device.cut_at:
                return super().change(at, data)
            super().change(at, memoryview(data)[: int(len(data) * self.device.torn)])
            self.gone = True
        raise Cut


class ChipMachine:
    """Stands for the module."""

    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5

    def __init__(self):
        self.cause, self.callback = POWER, None

    def reset_cause(self):
        return self.cause

    def reset(self):
        raise Reset

    def WDT(self, timeout):
        self.watched = True

    def Timer(self, number, period, callback):
        assert period == 600000
        self.callback = callback


class Web(flow.Driver):
    """A web server of one folder, reached at once."""

    def __init__(self, folder):
        self.folder, self.etag, self.up = folder, '"' + folder.rsplit("/", 1)[1] + '"', True

    def leave(self, answer, good):
        pass

    def send(self, request):
        yield False
        name = request.url.rsplit("/", 1)[1]
        headers = request.headers
        if name.startswith("manifest") and headers.get("If-None-Match") == self.etag:
            return WebAnswer(304, {}, b"")
        if not self.up:
            raise TransportError("nobody is there")
        with HOST.open(self.folder + "/" + name, "rb") as f:
            body = f.read()
        if "Range" not in headers:
            return WebAnswer(200, {"etag": self.etag}, body)
        first = int(headers["Range"][6:-1])
        return WebAnswer(206, {"content-range": f"bytes {first}-{len(body) - 1}/{len(body)}"}, body[first:])

    def read(self, answer, wanted):
        yield False
        piece, answer.rest = answer.rest[:1024], answer.rest[1024:]
        return piece


class WebAnswer:
    def __init__(self, status_code, headers, body):
        self.status_code, self.headers, self.rest = status_code, headers, body


class Clock:
    def __init__(self):
        self.time = 1795305600

    def now(self):
        return self.time


class AgentForUpdates:
    """What muster.update asks of an agent, which is also the board's hardware."""

    ready = None
    _device_no = "n1"

    def __init__(self, device):
        self._clock, self._hardware, self._look, self._untold = device.clock, self, None, False
        url = "https://releases/manifest.jwt"
        self._config = {
            "productId": device.product,
            "firmwareVersion": "0",
            "updates": {"url": url, "period": 86400, "tell": True},
        }

    def watchdog(self, seconds):
        pass

    def reset(self):
        raise Reset


class Device:
    """One board. builds: build -> {path: content}. What must not be is added to wrong."""

    def __init__(self, lives, image, web):
        self.lives, self.web = lives, web
        lives.data[:] = image
        self.product = lives.product
        self.clock = Clock()
        self.operations = self.cut_at = self.torn = self.losses = self.outage = 0
        self.wrong, self.starts, self.begun, self.runs = [], [], set(), None

    def live(self, cause=POWER):
        """Starts again and again, until it rests (True), or the power goes (False)."""
        for _ in range(STARTS):
            self.clock.time += 60
            before = self.operations
            cause = self.start(cause)
            self.starts.append(self.operations - before)
            if cause is None:
                return True
            if cause == CUT:
                return False
        self.lost("it starts again and again")
        return True

    def start(self, cause):
        """One start. Returns the cause of the next one, None if it rests."""
        flash = Flash(self)
        vfs.mount(vfs.VfsLfs2(flash), "/")
        os.chdir("/")
        MACHINE.cause, MACHINE.callback = cause, None
        path = list(sys.path)
        try:
            for name in ("/boot.py", "/main.py"):
                exec(got(name), {"device": self})
            return None
        except Cut:
            return CUT
        except SwitchedOff:
            return POWER
        except Reset:
            return RESET
        except Exception as e:
            if not trial.on_trial():
                self.lost(f"build {self.runs} raises {type(e).__name__} {e}")
                return None
            return WATCHDOG
        finally:
            flash.over = True
            vfs.umount("/")
            sys.path[:] = path
            sys.modules.pop("trial", None)

    # What a main.py calls

    def works(self):
        """A program with an agent, whose heartbeats are accepted."""
        self.begins()
        agent = AgentForUpdates(self)
        update.start(agent)
        while self.outage:
            self.outage -= 1
            self.ten_minutes()
        update.after_success(agent)
        for _ in range(2):  # the first one may only confirm
            agent._look = None
            for _ in update.check(agent, self.web):
                pass

    def crashes(self):
        self.begins()
        raise ValueError("a program that crashes")

    def is_switched_off(self):
        self.begins()
        raise SwitchedOff

    def is_not_heard(self):
        """A program whose agent reaches nobody, for a day."""
        self.begins()
        agent = AgentForUpdates(self)
        update.start(agent)
        for _ in range(144):
            self.ten_minutes()

    def ten_minutes(self):
        self.clock.time += 600
        if MACHINE.callback:
            MACHINE.callback(MACHINE)

    def deinit(self):
        MACHINE.callback = None

    # What must hold

    def begins(self):
        """A program has begun: it runs with all of the files of one build, and the secret is there."""
        self.runs = self.which(True)
        self.begun.add(self.runs)
        if store.FileStore(RECORD).load() != SECRET:
            self.lost("the secret is not there")

    def which(self, running):
        """The build whose files these are; while it runs, it may be on trial."""
        files = product()
        if running:
            files = {path: data for path, data in files.items() if path[-1] != "~"}
            if trial.on_trial():
                files["/boot.py"] = got("/update/boot.new")
        for build, expected in self.lives.builds.items():
            if files == expected:
                return build
        self.wrong.append("mixed: " + differences(files, self.lives.builds))
        return None

    def lost(self, why):
        self.losses += 1
        self.wrong.append("lost: " + why)


def differences(files, builds):
    return str(
        {
            build: sorted(
                [path for path in set(files) | set(expected) if files.get(path) != expected.get(path)]
            )
            for build, expected in builds.items()
        }
    )


def got(path):
    with open(path, "rb") as f:
        return f.read()


def product():
    """The files that are part of a build, and whatever else should not be there."""
    files = {}
    folders = ["/"]
    while folders:
        folder = folders.pop()
        for name, kind, *_ in os.ilistdir(folder):
            path = folder.rstrip("/") + "/" + name
            if kind == 0x4000:
                if path not in ("/state", "/update"):
                    folders.append(path)
            elif path not in ("/config.json", "/filler"):
                files[path] = got(path)
    return files


class Lives:
    """Of boards that have one image, and are offered a release, and then another one.

    image: path of the flash with build 1.  product: its productId.  builds: build -> {path: the host's path}.
    folders: of the release, and of the later one.  ends: the builds that may run once it was offered.
    """

    def __init__(self, image, product, builds, folders, ends):
        with open(image, "rb") as f:
            self.image = f.read()
        self.data = bytearray(self.image)
        self.product, self.ends = product, ends
        self.builds = {}
        for build in builds:
            self.builds[int(build)] = files = {}
            for path, where in builds[build].items():
                with open(where, "rb") as f:
                    files[path] = f.read()
        self.offers = [Web(folder) for folder in folders]
        self.release, self.later = self.offers[0], self.offers[-1]

    def device(self, image=None):
        gc.collect()
        return Device(self, image or self.image, self.release)

    def undisturbed(self):
        """The operations of each start of a device to which nothing happens, and what was wrong."""
        device = self.device()
        device.live()
        starts = list(device.starts)
        self.judge(device)
        return {"starts": starts, "operations": sum(starts), "wrong": device.wrong}

    def cuts(self, lives):
        """A life for each list of (operation since the power came, part of it that is done)."""
        told = []
        for cuts in lives:
            device = self.device()
            for device.cut_at, device.torn in cuts:
                device.operations = 0
                if device.live():
                    break
            told.append(self.ended(device))
        return told

    def pairs(self, firsts, torn, step):
        """Cuts at each of the operations in firsts, and again at every step-th of what follows."""
        lives, found = 0, []
        for at in firsts:
            device = self.device()
            device.cut_at, device.torn = at, torn
            device.live()
            image = bytes(self.data)
            clock = device.clock.time
            second = 1 + at % step
            while True:
                device = self.device(image)
                device.clock.time = clock
                device.cut_at, device.torn = second, torn
                rests = device.live()
                wrong, losses = self.ended(device, rests)
                lives += 1
                if wrong:
                    found.append(([at, second], wrong, losses))
                if rests:
                    break
                second += step
        return {"lives": lives, "found": found}

    def years(self, seeds):
        """For each seed a device that is offered one release after the other, between cuts and outages."""
        return [self.year(seed) for seed in seeds]

    def year(self, seed):
        random.seed(seed)
        device = self.device()
        for offer in self.offers:
            device.web, device.clock.time = offer, device.clock.time + random.randrange(30) * 86400
            # Some are withdrawn before this device has seen them.
            for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
                device.cut_at = random.choice((0, random.randrange(1, 40), random.randrange(1, 300)))
                device.operations, device.torn = 0, random.choice((0.0, 0.5, 1.0))
                device.outage = random.choice((0, 0, 0, random.randrange(150)))
                offer.up = random.random() < 0.8
                device.live()
        device.outage, self.later.up = 0, True
        wrong, losses = self.ended(device)
        return wrong, losses, list(device.begun)

    def ended(self, device, rests=False):
        device.cut_at = device.operations = 0
        if not rests:
            device.live()
        self.judge(device)
        return device.wrong, device.losses

    def judge(self, device):
        """It has come to rest with one of the builds that it may have, and takes a later release."""
        device.cut_at = 0
        if device.runs not in self.ends:
            device.lost(f"build {device.runs} runs")
        self.look(device)
        device.web = self.later
        device.clock.time += 86400
        device.live()
        if device.runs != max(self.builds):
            device.lost(f"build {device.runs} runs in place of the later one")
        self.look(device)

    def look(self, device):
        """Nothing of an update is left on its flash."""
        vfs.mount(vfs.VfsLfs2(Flash(device)), "/")
        os.chdir("/")
        device.which(False)
        try:
            left = os.listdir("/update")
        except OSError:
            left = []
        if left:
            device.wrong.append(f"left in /update: {left}")
        vfs.umount("/")


MACHINE = ChipMachine()
sys.modules["machine"] = MACHINE
log.write = lambda level, text: None
request = json.loads(sys.stdin.readline())
do = request.pop("do")
lives = Lives(**request)
sys.path[:] = ["", ".frozen", "/lib"]
vfs.umount("/")  # the host's files
print(json.dumps([getattr(lives, what)(*arguments) for what, *arguments in do]))
