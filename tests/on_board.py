"""The library's tests on a board that is plugged in: pytest's --port, and python3 -m tools test --port.

The module of each test, without its other tests, is compiled here and runs from the board's memory, as do the
modules of tests/lib that it imports. What a fixture gives as the path of a file here is a file in RAM there.
The library is the board's own.
"""

import ast
import hashlib
import os
import re
from pathlib import Path

import address
import pytest

from tools.common.paths import ROOT
from tools.common.printable import printable
from tools.factory.guest import RAM, Guest
from tools.factory.library import compiled, imports, released, with_lines
from tools.factory.ports import Lost
from tools.factory.product import CLOCK
from tools.factory.raw_repl import Raised

TESTS = ROOT / "tests" / "lib"
LIB = ROOT / "lib"
SILENT_S = 300  # of one test, at most: an ESP32 takes a hundred times as long as this computer
CLEAN, USED, LOST = "clean", "used", "lost"


class OnBoard:
    """The board for as long as tests run, and what its tests need of it."""

    def __init__(self, config):
        if getattr(config.option, "numprocesses", None):
            raise pytest.UsageError("one board runs one test at a time: leave out -n.")
        self.port, self.host = config.getoption("port"), config.getoption("host")
        self.state, self.module = USED, ""
        self.chip = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session):
        if session.config.option.collectonly or not session.items:
            return (yield)
        try:
            with Guest(self.port) as self.guest:
                self.library = self.guest.ask("library")
                if self.library is None:
                    raise pytest.UsageError("the board has no muster: put it there with deploy or flash.")
                self.chip = self.guest.ask("chip")
                try:
                    address.address = self.guest.place(self.host)
                except ValueError as e:
                    if self.host:
                        raise pytest.UsageError(str(e)) from None
                    address.why_not = str(e)
                return (yield)
        except Lost as e:
            raise pytest.exit.Exception(str(e), returncode=1) from None

    def run(self, module, function, arguments):
        """Runs one test. One of these happens:

        it passes
        the board's library has not got what it imports: the test is skipped
        the board is lost before the test has begun: it is waited for
        the board is lost in the middle: the test fails, and the next waits for it
        no memory in a heap that others have used: once more, after a soft reset
        no memory in a clean one: the test fails, and its words say so
        it raises anything else: the test fails, with the board's traceback
        """
        sources = sources_of(TESTS / f"{module}.py", function)
        self._check_carried(sources)
        luggage = Luggage()
        arguments = luggage.pack(arguments)
        modules = {f"{path.stem}.mpy": with_lines(source, path.name) for path, source in sources.items()}
        files = {**luggage.files, **modules}
        if self.state == LOST:
            self._come_back()
        elif self.module != module:
            self._restart()
        self.module = module
        clean, error = self._run(files, module, function, arguments)
        if not clean and _ran_out(error):
            self._restart()
            _, error = self._run(files, module, function, arguments)
        if error:
            self._judge(error)

    def _run(self, files, module, function, arguments):
        """Whether its heap was clean, and what was raised or the loss of the board, if anything."""
        clean = self.state == CLEAN
        try:
            try:
                self._lay(files)
            except Lost:
                self._come_back()
                clean = True
                self._lay(files)
            self.state = USED
            self.guest.call(module, function, arguments, SILENT_S)
        except Lost as e:
            self.state = LOST
            return clean, e
        except Raised as e:
            self.state = USED
            return clean, e
        return clean, None

    def _lay(self, files):
        self.guest.lay(files)
        self.guest.seed(int(os.environ["MUSTER_SEED"]))

    def _judge(self, error):
        """Ends the test for what happened on the board."""
        if isinstance(error, Lost):
            pytest.fail(f"in the middle of this test {error}", pytrace=False)
        traceback = re.sub(r'  File "<stdin>", .*\n', "", error.traceback)
        lacks = re.match(r"ImportError: no module named '(muster[.\w]*)'", _last_line(traceback))
        if lacks and not (self._digests and self._carries(LIB.joinpath(*lacks[1].split(".")))):
            pytest.skip(f"the board's library has no {lacks[1]}")
        if _ran_out(error):
            traceback = f"the test ran out of the board's memory\n{traceback}"
        pytest.fail(f"on the board:\n{error.printed}{traceback}", pytrace=False)

    def _come_back(self):
        self.guest.come_back()
        self.state = CLEAN

    def _restart(self):
        self.guest.restart()
        self.state = CLEAN

    def _check_carried(self, sources):
        for path in sources:
            for needed in imports(path, LIB):
                if needed.exists() and not self._carries(needed.with_suffix("")):
                    pytest.skip(f"the board's library has no {needed.relative_to(LIB)}")

    def _carries(self, module):
        """module: its path in lib/, without the suffix."""
        name = module.relative_to(LIB / "muster").as_posix()
        ends = (".py", ".mpy", "/__init__.py", "/__init__.mpy")
        return not self._digests or any(name + end in self._digests for end in ends)

    @property
    def _digests(self):
        """SHA-256 by path in muster/; none of a library that the firmware carries."""
        return self.library["files"]

    def pytest_terminal_summary(self, terminalreporter):
        if self.chip is None:
            return
        say = terminalreporter.write_line
        terminalreporter.section("board")
        say(
            f"{printable(self.chip['chip'])} at {self.port}, "
            f"MicroPython {printable(self.chip['micropython'])}"
        )
        say(
            f"its clock, program and files are as they were; free heap: {self.guest.free:,} bytes before, "
            f"{self.guest.after:,} after"
        )
        say(f"its library: muster {printable(self.library['version'])} at {printable(self.library['home'])}")
        other = differs(self._digests)
        if not self._digests:
            say(
                "warning: its firmware carries the library, whose files cannot be compared with this folder's"
            )
        elif other:
            say(f"warning: {len(other)} of its files are not this folder's: {', '.join(other)}")
        if address.why_not:
            say(f"warning: {address.why_not}")


def _last_line(text):
    return text.rpartition("\n")[2]


def _ran_out(error):
    return isinstance(error, Raised) and _last_line(error.traceback).startswith("MemoryError")


def differs(digests):
    """The files on a board that are not as this folder has them: SHA-256 by path in muster/."""
    return [name for name in sorted(digests) if digests[name] not in _own_digests(name)]


def _own_digests(name):
    path = (LIB / "muster" / name).with_suffix(".py")
    if not path.exists():
        return []
    source = path.read_bytes()
    if f"/{path.relative_to(ROOT).as_posix()}" == CLOCK:
        source = released(source, ROOT)
    data = compiled(source, path.relative_to(LIB).as_posix()) if name.endswith(".mpy") else source
    return [hashlib.sha256(data).hexdigest()]


def sources_of(path, function):
    """{path: source} of a test's module, without its other tests, and of what it imports beside it."""
    found = {path: _alone(path.read_text(encoding="utf-8"), function)}
    todo = [path]
    while todo:
        for other in imports(todo.pop(), TESTS):
            if other.exists() and other not in found:
                found[other] = other.read_bytes()
                todo.append(other)
    return found


def _alone(source, function):
    """The source without other tests; every line keeps its number."""
    lines = source.splitlines(keepends=True)
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and node.name != function:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            for n in range(first - 1, node.end_lineno):
                lines[n] = "\n"
    return "".join(lines).encode()


class Luggage:
    """What goes along with a test's arguments. files: path under RAM -> bytes, as Guest.lay() takes them."""

    def __init__(self):
        self.files = {}
        self._names = {}

    def pack(self, value):
        """The value with the paths that its files and folders have there."""
        if isinstance(value, dict):
            return {key: self.pack(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.pack(item) for item in value]
        if not isinstance(value, str) or not os.path.isabs(value) or not os.path.exists(value):
            return value
        return RAM + self._take(Path(value))

    def _take(self, path):
        if path not in self._names:
            name = path.name
            while name in self._names.values():
                name = f"_{name}"
            self._names[path] = name
            if path.is_file():
                self.files[name] = path.read_bytes()
            else:
                self.files[f"{name}/"] = b""
                for file in path.rglob("*"):
                    if file.is_file():
                        self.files[f"{name}/{file.relative_to(path).as_posix()}"] = file.read_bytes()
        return self._names[path]
