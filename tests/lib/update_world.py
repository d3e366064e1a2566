"""A board whose flash is a folder, and a web server of releases: what the tests of updates are given."""

import binascii
import hashlib
import json
import os
import sys

from agent_world import CONFIG, SECRET, Clock, Hardware, Store
from helpers import logged
from muster import clock, jwt, last, rsa, staging, trial
from muster.agent import Agent
from muster.errors import TransportError
from muster.flow import Driver
from pem_keys import KEY, PUBLIC

try:
    import deflate
except ImportError:  # CPython
    sys.path.insert(0, __file__.rsplit("/tests/", 1)[0] + "/tools/board/chip")
    import deflate  # noqa: F401

    sys.path.pop(0)

URL = "https://releases.example/box/manifest.jwt"
PERIOD = 86400
DAY = 86400
POWER, CRASH = 1, 2
ENOSPC = 28  # a board's errno does not have it
BEFORE = {
    "/boot.py": b"# boot of 1",
    "/main.py": b"# main of 1",
    "/build.json": b'{"version": "1.1", "build": 1}',
    "/keys/maker.pem": PUBLIC.encode(),
    "/lib/a.py": b"a = 1",
    "/lib/b.py": b"b = 1",
}
SIGNING = {}
TRIAL = "trial.mpy" if trial.__file__.endswith(".mpy") else "trial.py"  # as a board has it


def teardown_function(_):
    trial.root = ""
    last.STATE = "/state/last"
    sys.modules.pop("machine", None)


class Restart(BaseException):
    """The board resets."""


class Board(Hardware):
    """A board whose flash is a folder, a platform, and a web server for releases."""

    def __init__(self, folder, **config):
        trial.root = folder
        last.STATE = folder + "/state/last"
        self.folder = folder
        self.config = dict(CONFIG, updates={"url": URL, "period": PERIOD}, **config)
        self.clock, self.store, self.web = Clock(clock.now()), Store(), Web()
        self.put("/lib/muster/" + TRIAL, got(trial.__file__))
        for path in BEFORE:
            self.put(path, BEFORE[path])
        self.agent = None
        self.ready = None
        self.cause = POWER

    def put(self, path, data):
        at = path.find("/", 1)
        while at > 0:
            if not staging.kind(path[:at]):
                os.mkdir(self.folder + path[:at])
            at = path.find("/", at + 1)
        with open(self.folder + path, "wb") as f:
            f.write(data)

    def files(self, below=""):
        """path -> content of what is on flash, but for the device's own records and muster itself."""
        found = {}
        for name in os.listdir(self.folder + below + "/"):
            path = below + "/" + name
            if staging.kind(path) == 0x4000:
                if path not in ("/state", "/lib/muster") and name != "__pycache__":
                    found.update(self.files(path))
            else:
                found[path] = got(self.folder + path)
        return found

    def switch_on(self, cause=POWER):
        """A start, and what boot.py does; a reset that it asks for comes at once."""
        self.cause = cause
        for _ in range(3):
            if not trial.on_trial():
                break
            sys.modules["machine"] = ChipMachine(self)
            try:
                trial.start()
                break
            except Restart:
                self.cause = CRASH
            finally:
                del sys.modules["machine"]
        self.agent = Agent(self.config, self.web, self.store, self.clock, self)
        self.agent.ready = self.ready
        return self.agent

    def offer(self, build, changed=(), key=KEY, **claims):
        """Publishes BEFORE with these changes, None takes a file out. claims: instead of the right ones."""
        files = dict(BEFORE, **{"/build.json": b'{"version": "1.%d", "build": %d}' % (build, build)})
        files["/boot.py"] = b"# boot of %d" % build
        files.update(changed)
        gone = [path for path in files if files[path] is None]
        files = {path: files[path] for path in files if files[path] is not None}
        for data in files.values():
            self.web.files[digest(data)] = stored(data)
        known = {
            "aud": "muster-update",
            "product": CONFIG["productId"],
            "version": "1.%d" % build,
            "build": build,
            "mpy": getattr(sys.implementation, "_mpy", 6) & 0xFF,
            "micropython": [1, 26] if hasattr(sys.implementation, "_mpy") else [3, 10],
            "files": [[path, len(files[path]), digest(files[path])] for path in sorted(files)],
            "remove": sorted(gone),
            "rollout": 100,
            "iat": clock.now(),
        }
        known.update(claims)
        self.web.files["manifest.jwt"] = signed(known, key)
        self.web.etag = '"%s %d"' % (digest(self.web.files["manifest.jwt"])[:8], build)
        return files

    def heard(self):
        """A start with a heartbeat that is accepted."""
        self.switch_on()
        self.agent.report()
        return self

    def look(self):
        """The next look for a release. Returns what was logged, and "restarts" if it does."""
        while True:
            self.clock.time = max(self.clock.time, self.agent._look)
            if self.agent._schedule.wake > self.clock.time:
                break
            self.agent.step()  # a heartbeat comes first
        with logged() as lines:
            try:
                self.agent.step()
            except Restart:
                lines.append("restarts")
        return "\n".join(lines)

    def tries(self):
        """Looks, and restarts with the new build."""
        said = self.look()
        assert said.endswith("restarts"), said

    def takes(self):
        """Has the new build heard as well."""
        self.tries()
        self.switch_on(CRASH)
        self.agent.step()
        return self

    def status(self, name):
        return self.agent.status()[name]

    def reset(self):
        raise Restart

    def watchdog(self, seconds):
        pass

    def ten_minutes(self):
        """As the timer of a trial takes them."""
        sys.modules["machine"] = ChipMachine(self)
        self.clock.time += 600
        try:
            self.callback(sys.modules["machine"])
        finally:
            del sys.modules["machine"]


class ChipMachine:
    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5

    def __init__(self, board):
        self.board = board

    def reset_cause(self):
        return self.board.cause

    def reset(self):
        raise Restart

    def WDT(self, timeout):
        pass

    def Timer(self, number, period, callback):
        self.board.callback = callback

    def deinit(self):
        pass


class Web(Driver):
    """Answers at once: the platform as it should, a web server of releases as a test has it.

    files: name -> content.  instead: name -> a function of the request that gives (status, headers, body).
    A body may be a function, which gives piece after piece.
    """

    def __init__(self):
        self.files, self.instead, self.asked, self.agents, self.etag = {}, {}, [], [], ""
        self.up = True

    def leave(self, answer, good):
        pass

    def send(self, request):
        yield False
        name = request.url[request.url.rindex("/") + 1 :]
        if request.method == "POST":
            if not self.up:
                raise TransportError("nobody is there")
            return Answer(200, {}, json.dumps({"code": "200", "data": SECRET}).encode())
        self.asked.append(name)
        self.agents.append(request.headers["User-Agent"])
        if name in self.instead:
            return Answer(*self.instead[name](request))
        if name not in self.files:
            return Answer(404, {}, b"")
        if name == "manifest.jwt" and request.headers.get("If-None-Match") == self.etag:
            return Answer(304, {}, b"")
        body, range_ = self.files[name], request.headers.get("Range")
        if not range_:
            return Answer(200, {"etag": self.etag}, body)
        first = int(range_[6:-1])
        return Answer(
            206, {"content-range": "bytes %d-%d/%d" % (first, len(body) - 1, len(body))}, body[first:]
        )

    def read(self, answer, wanted):
        yield False
        return answer.piece()

    def fetched(self):
        """What was asked for since this was asked last, without manifests."""
        asked, self.asked = self.asked, []
        return [name for name in asked if name != "manifest.jwt"]


class Answer:
    not_after = None

    def __init__(self, status_code, headers, body):
        self.status_code, self.headers, self.content = status_code, headers, body
        self.at = 0

    def json(self):
        return json.loads(self.content)

    def piece(self):
        if not isinstance(self.content, bytes):
            return self.content()
        self.at += 1024
        return self.content[self.at - 1024 : self.at]

    def close(self):
        pass


def got(path):
    with open(path, "rb") as f:
        return f.read()


def digest(data):
    return binascii.hexlify(hashlib.sha256(data).digest()).decode()


def stored(data):
    """Raw deflate without a compressor."""
    size = len(data)
    return b"\x01" + bytes((size & 255, size >> 8, ~size & 255, ~size >> 8 & 255)) + data


def signed(claims, key=KEY):
    if key not in SIGNING:
        SIGNING[key] = rsa.PrivateKey.from_pem(key)
    return jwt.encode(claims, SIGNING[key], "RS256").encode()
