"""A board that exists on a laptop: flash, power, reset, watchdog, clock, air and a serial port."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
import tty
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tools.board.console import Console
from tools.board.flash import Flash, Folder, put
from tools.common import boards, littlefs
from tools.common.vm import choose_vm, find_faketime, find_micropython, preload

HERE = Path(__file__).parent
CHIP, VM = HERE / "chip", HERE / "vm"
# What a board runs ends with its supervisor, however that ends.
HANG_UP = [sys.executable, "-S", str(VM / "hang_up.py")]

AIR: tuple[dict, ...] = ({"ssid": "muster-lab", "key": "password", "join_s": 0.05},)
COLD = 946684800  # 2000-01-01, where an ESP32's clock begins

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5

# What each kind of reset clears.
LOST_WITH_THE_POWER = ("time", "rtc", "wifi", "wdt", "exit")
LOST_IN_A_RESET = ("wifi", "wdt", "exit")
LOST_IN_A_SOFT_RESET = ("exit",)

WDT_MESSAGE = (
    b"\r\nE task_wdt: Task watchdog got triggered. "
    b"The following tasks/users did not reset the watchdog in time:\r\nE task_wdt:  - mpy_machine_wdt\r\n"
)

# What the chip's ROM prints first.
ROM_MESSAGE = {
    PWRON_RESET: b"rst:0x1 (POWERON_RESET)\r\n",
    HARD_RESET: b"\r\nrst:0xc (SW_CPU_RESET)\r\n",
    WDT_RESET: b"\r\nrst:0xc (SW_CPU_RESET)\r\n",
    DEEPSLEEP_RESET: b"\r\nrst:0x5 (DEEPSLEEP_RESET)\r\n",
    SOFT_RESET: b"MPY: soft reboot\r\n",
}

NO_FIRMWARE_MESSAGE = b"invalid header: 0xffffffff\r\nwaiting for download\r\n"
# How esptool greets the ROM. A real chip's reset lines have put it there before; here the greeting does.
SYNC = b"\xc0\x00\x08\x24\x00"

LOOK_S = 0.05
# As on USB, a board waits for a slow reader, and loses the oldest of what nobody reads.
UNREAD, PATIENCE_S = 65536, 2
# A fed watchdog is written at most every 50 ms, and looked at every LOOK_S.
WDT_GRACE_S = 0.1


class BoardError(RuntimeError):
    """The board cannot do what was asked of it; the text says why, and what it printed last."""


class Board:
    """A virtual ESP32.

    directory: where its flash and its state are kept, one board's at a time; made when it is not there. A
        board that is switched on again in the same directory finds its flash and its NVS as it left them.
    image: a LittleFS image to flash first, at its place behind the firmware; None keeps what is there.
    kind: the board's name in firmware/boards.toml;  flash: the size of its flash, in bytes.
    bare: a new board's flash is erased, without firmware, until esptool brings some.
    heap: of MicroPython, in bytes.
    rtc: Unix time at which the clock starts when the power comes; None for the chip's 2000-01-01.
    air: the networks in reach: dictionaries of ssid, key and join_s (seconds that joining takes).
    mac: six bytes;  ip: (address, netmask, gateway, dns).
    cut_at: the power goes during this flash operation, counted from 1 at start(); torn: the part of it that
        is still done, 0 to 1.
    vm: "micropython" or "cpython"; None for MicroPython when there is one.
    environment: more variables for the VM's process.
    """

    def __init__(
        self,
        directory: str | Path,
        image: bytes | None = None,
        *,
        kind: str = "ESP32_GENERIC",
        flash: int = 4 * boards.MB,
        bare: bool = False,
        heap: int | None = None,
        rtc: int | None = None,
        air: Sequence[Mapping] = AIR,
        mac: bytes = bytes.fromhex("240ac4c0ffee"),
        ip: Sequence[str] = ("192.168.4.7", "255.255.255.0", "192.168.4.1", "192.168.4.1"),
        cut_at: int | None = None,
        torn: float = 0.0,
        vm: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        micropython = find_micropython()
        self.vm = choose_vm(vm)
        if self.vm == "cpython" and cut_at is not None:
            raise BoardError("cut_at counts flash operations, which a board under CPython does not have.")
        if self.vm == "cpython" and bare:
            raise BoardError("a board under CPython has no flash chip that could be bare: leave out --bare.")
        self.what = f"CPython {sys.version.split()[0]}"
        if self.vm == "micropython" and micropython is not None:
            self.what = micropython.what
        self._micropython = micropython
        self._faketime = find_faketime()
        if self._faketime is None:
            self.what += ", on this computer's clock (libfaketime is for Linux)"

        self.directory = Path(directory).resolve()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.heap, self.rtc, self.cut_at, self.torn = heap, rtc, cut_at, torn
        self.environment = dict(environment or {})
        self._networks = air
        self.type = boards.board_types()[kind]
        self.mac = mac
        self._fds = [_claim(self.directory)]
        try:
            self.flash = self._find_flash(flash, bare)
            if image is not None:
                self.flash.write(image)
            self._write("mac", json.dumps(mac.hex()))
            self._write("ip", json.dumps(list(ip)))
            self._write("faked", json.dumps(self._faketime is not None))
            self.set_air(air)
        except BaseException:
            self._close()
            raise

        self._lock = threading.RLock()
        self._said = bytearray()
        self._heard = threading.Condition(self._lock)
        self._seen = 0
        self._console = Console(self._emit, raw_at_prompt=self.vm == "micropython")
        self._process: subprocess.Popen | None = None
        self._supervisor: threading.Thread | None = None
        self._powered = False
        self._sync = b""
        self._fed: bytes | None = None
        self._fed_at = 0.0
        self._open_port()

    # Power

    def start(self) -> Board:
        """Switches the board on."""
        if self.running:
            raise BoardError("the board is already on.")
        _sweep()
        self._forget(LOST_WITH_THE_POWER)
        self._write("operations", bytes(4))
        if self._faketime is not None or self.rtc is not None:
            self._write_offset((COLD if self.rtc is None else self.rtc) - time.time())
        self._powered = True
        self._supervisor = threading.Thread(
            target=self._run, name=f"board {self.directory.name}", daemon=True
        )
        self._supervisor.start()
        return self

    def cut_power(self) -> None:
        """Pulls the plug, now. Flash keeps what had reached it."""
        with self._lock:
            self._powered = False
            self._kill()
        self._wake()
        if self._supervisor is not None:
            self._supervisor.join()

    def reset(self) -> None:
        """Presses the reset button, which the chip takes for a power-on."""
        self.cut_power()
        self.start()

    def stop(self) -> None:
        """Switches the board off for good and gives its serial port back."""
        self.cut_power()
        self._let_go_of_port()
        self._close()

    @property
    def running(self) -> bool:
        """Whether the power is on."""
        return self._supervisor is not None and self._supervisor.is_alive()

    def wait_off(self, timeout: float = 10) -> None:
        """Waits until the power went at cut_at. Raises BoardError after timeout seconds."""
        if self._supervisor is not None:
            self._supervisor.join(timeout)
        if self.running:
            raise BoardError(f"the board is still on after {timeout} s.{self._last_words()}")

    def __enter__(self) -> Board:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # The serial port

    @property
    def output(self) -> str:
        """All that the board has printed since it was made, with plain line ends."""
        with self._lock:
            return self._said.decode(errors="replace").replace("\r\n", "\n")

    def wait_for(self, what: str | re.Pattern, timeout: float = 20) -> re.Match:
        """Waits until the board prints what: a text, or a compiled pattern.

        Looks from where the last wait_for() ended. Raises BoardError after timeout seconds.
        """
        pattern = what if isinstance(what, re.Pattern) else re.compile(re.escape(what))
        until = time.monotonic() + timeout
        with self._lock:
            while True:
                found = pattern.search(self.output, self._seen)
                if found:
                    self._seen = found.end()
                    return found
                left = until - time.monotonic()
                if left <= 0 or not self.running:
                    state = f"within {timeout} s" if self.running else "and is off"
                    raise BoardError(f"the board did not print {what!r} {state}.{self._last_words()}")
                self._heard.wait(min(left, 0.1))

    def write(self, data: bytes) -> None:
        """Types data: b"\\x03" is Ctrl-C, b"\\x04" Ctrl-D."""
        with self._lock:
            self._console.type(data)
        self._wake()

    # Flash

    @property
    def operations(self) -> int:
        """Flash operations (programs and erases) since the power came."""
        return int.from_bytes(self._read("operations") or b"", "little")

    def image(self) -> bytes:
        """The file system's part of the flash as it is now."""
        return self.flash.image()

    def files(self) -> dict[str, bytes]:
        """The files on flash: path -> content. The board should be off, or idle."""
        return self.flash.files()

    # The air

    def set_air(self, networks: Sequence[Mapping]) -> None:
        """Changes the networks in reach, of a running board too."""
        self._write("air", json.dumps([dict(network) for network in networks]))

    def cut_network(self) -> None:
        self.set_air([])

    def restore_network(self) -> None:
        self.set_air(self._networks)

    # Inside

    def _find_flash(self, size: int, bare: bool) -> Flash | Folder:
        kind = self.type.name
        before = (self._read("kind") or kind.encode()).decode()
        if before != kind:
            raise BoardError(
                f"{self.directory} holds an {before}, not an {kind}: start it with --board {before}, "
                "or give the other a folder of its own."
            )
        if self.vm == "micropython":
            flash: Flash | Folder = Flash(self.directory / "flash.bin", self.type, size, bare)
        else:
            flash = Folder(self.directory / "flash")
        self._write("kind", kind)
        return flash

    def _close(self) -> None:
        if self._fds:
            # A process that another thread is about to start holds a copy of it for a moment.
            fcntl.flock(self._fds[0], fcntl.LOCK_UN)
        while self._fds:
            os.close(self._fds.pop())

    def _open_port(self) -> None:
        # The board's own handle on the port keeps it alive between two callers.
        self._outer, held = pty.openpty()
        self._held = [held]
        tty.setraw(held)
        os.set_blocking(self._outer, False)
        self.port = os.ttyname(held)
        self._unread = bytearray()
        self._handed_out = 0.0
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._fds += [self._outer, self._wake_read, self._wake_write]

    def _let_go_of_port(self) -> None:
        """From now on the kernel tells when the last who has the port open closes it."""
        while self._held:
            os.close(self._held.pop())

    def _hold_port(self) -> None:
        if not self._held:
            self._held = [os.open(self.port, os.O_RDWR | os.O_NOCTTY)]
            tty.setraw(self._held[0])

    def _wake(self) -> None:
        if self._fds:
            os.write(self._wake_write, b".")

    def _emit(self, data: bytes) -> None:
        with self._heard:
            self._said += data
            self._unread = (self._unread + data)[-UNREAD:]
            self._heard.notify_all()

    def _run(self) -> None:
        try:
            self._supervise()
        except OSError as error:
            self._emit(f"\r\nthe board cannot go on: {error}\r\n".encode())

    def _supervise(self) -> None:
        cause, into_raw_repl = PWRON_RESET, False
        while self._powered:
            if cause == SOFT_RESET:
                self._forget(LOST_IN_A_SOFT_RESET)
            else:
                self._forget(LOST_IN_A_RESET)
                self._fed = None
            self._write("cause", str(cause))
            self._emit(ROM_MESSAGE[cause])
            if not self.flash.bootable:
                self._emit(NO_FIRMWARE_MESSAGE)
            if self._sync or not self.flash.bootable:
                self._download()
                cause, into_raw_repl = PWRON_RESET, False
                continue
            terminal = self._power_vm(into_raw_repl)
            if terminal is None:
                return
            try:
                bitten = self._attend(terminal)
            finally:
                with self._lock:
                    self._console.detach()
                self._bury(terminal)
            if not self._powered:
                return
            cause = WDT_RESET if bitten else HARD_RESET if self._sync else self._cause_of_end()
            into_raw_repl = cause == SOFT_RESET and self._console.raw_repl

    def _cause_of_end(self) -> int:
        assert self._process is not None
        why = (self._read("exit") or b"").decode().split()
        if not why:
            status = self._process.returncode
            if self._console.booting:
                heap = f", with a heap of {self.heap // 1024:,} KB" if self.heap else ""
                self._emit(f"\r\nthe VM ended with status {status} before it had started{heap}\r\n".encode())
                self._powered = False
            return SOFT_RESET if status in (0, 1, -signal.SIGINT) else HARD_RESET
        if why[0] == "cut":
            self._powered = False
        elif why[0] == "deepsleep":
            self._sleep(int(why[1]) / 1000)
            return DEEPSLEEP_RESET
        return SOFT_RESET if why[0] == "soft" else HARD_RESET

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._powered and (seconds == 0 or time.monotonic() < until):
            time.sleep(LOOK_S)

    def _power_vm(self, into_raw_repl: bool) -> int | None:
        """Starts the VM on a terminal of its own and returns our end of it; None when the power went."""
        signals = termios.ISIG if self.vm == "micropython" else None
        with self._lock:
            terminal = self._spawn(self._command(), self._environment(not into_raw_repl), signals)
            if terminal is not None and self._process is not None:
                self._console.attach(terminal, self._process.pid, into_raw_repl)
        return terminal

    def _spawn(
        self, command: Sequence[str], environment: Mapping[str, str], signals: int | None
    ) -> int | None:
        """What the chip runs from now on. signals: of a raw terminal, ISIG or 0; None for a cooked one."""
        ours, its = pty.openpty()
        with self._lock:
            if not self._powered:
                os.close(ours)
                os.close(its)
                return None
            try:
                if signals is not None:
                    mode = termios.tcgetattr(its)
                    mode[0], mode[1], mode[3] = 0, 0, signals
                    # The console sends the signals; a program may want these characters as they are.
                    for key in (termios.VINTR, termios.VQUIT, termios.VSUSP):
                        mode[6][key] = b"\0"
                    termios.tcsetattr(its, termios.TCSANOW, mode)
                self._process = subprocess.Popen(
                    command,
                    stdin=its,
                    stdout=its,
                    stderr=its,
                    cwd=self.directory,
                    env=environment,
                    start_new_session=True,
                    umask=0o077,  # the chip keeps its NVS in a file
                )
            finally:
                os.close(its)
            os.set_blocking(ours, False)
        return ours

    def _download(self) -> None:
        """The chip's ROM has the port, until the one who held it lets go."""
        rom = [sys.executable, str(VM / "rom.py"), self.type.chip, str(self.flash.path), self.mac.hex()]
        terminal = self._spawn([*HANG_UP, *rom], os.environ, 0)
        if terminal is None:
            return
        typed, told, self._sync = self._sync, b"", b""
        try:
            while self._powered:
                ready = _poll(
                    {
                        self._wake_read: select.POLLIN,
                        self._outer: (0 if typed else select.POLLIN) | (select.POLLOUT if told else 0),
                        terminal: (0 if told else select.POLLIN) | (select.POLLOUT if typed else 0),
                    }
                )
                outer, rom = ready.get(self._outer, 0), ready.get(terminal, 0)
                if self._wake_read in ready:
                    _read(self._wake_read)
                if outer & select.POLLHUP:
                    return  # nobody has the port open any more
                if outer & select.POLLOUT:
                    told = told[os.write(self._outer, told) :]
                elif outer & select.POLLIN:
                    typed = _read(self._outer)
                    self._let_go_of_port()
                if rom & select.POLLIN:
                    told += _read(terminal)
                elif rom & select.POLLHUP and not told:
                    return  # the ROM has started the program
                elif rom == select.POLLOUT:
                    typed = typed[os.write(terminal, typed) :]
        finally:
            self._bury(terminal)
            self._hold_port()

    def _command(self) -> list[str]:
        if self.vm == "cpython" or self._micropython is None:
            return [*HANG_UP, sys.executable, str(VM / "cpython.py")]
        heap = [] if self.heap is None else ["-X", f"heapsize={self.heap}"]
        return [*HANG_UP, *self._micropython.command, *heap, "-i", "-c", "__import__('bootloader')"]

    def _environment(self, main: bool) -> dict[str, str]:
        region = self.flash.region
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "TZ": "UTC",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "MICROPYPATH": f"{VM}:{CHIP}:.frozen",
            "BOARD_DIRECTORY": str(self.directory),
            "BOARD_OFFSET": str(region.offset),
            "BOARD_BLOCKS": str(region.size // littlefs.BLOCK),
            "BOARD_CUT_AT": str(self.cut_at or 0),
            "BOARD_TORN": str(self.torn),
            "BOARD_MAIN": "1" if main else "0",
        }
        if self._faketime is not None:
            environment |= {
                "LD_PRELOAD": preload(self._faketime, self.directory),
                "FAKETIME_TIMESTAMP_FILE": str(self.directory / "time"),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return environment | self.environment

    def _attend(self, terminal: int) -> bool:
        """Relays until the VM is gone. True when the watchdog bit."""
        while True:
            with self._lock:
                self._console.pump()
                unread = len(self._unread)
            readers = [self._outer, self._wake_read]
            if unread < UNREAD // 2 or time.monotonic() - self._handed_out > PATIENCE_S:
                readers.append(terminal)
            readable, writable, _ = select.select(readers, [self._outer] if unread else [], [], LOOK_S)
            if self._wake_read in readable:
                _read(self._wake_read)
            if self._outer in readable:
                typed = _read(self._outer)
                if SYNC in typed and self.vm == "micropython":
                    self._sync = typed[typed.index(SYNC) :]
                    self._unread.clear()
                    return False
                self.write(typed)
            if writable:
                self._hand_out()
            if terminal in readable:
                data = _read(terminal)
                if not data:
                    return False
                self._console.hear(data)
            if self._hungry():
                self._emit(WDT_MESSAGE)
                self._kill()
                return True

    def _hungry(self) -> bool:
        """Whether the watchdog has waited longer than its timeout."""
        feed, now = self._read("wdt"), time.monotonic()
        if feed != self._fed:
            self._fed, self._fed_at = feed, now
        return bool(feed) and now - self._fed_at > int(feed.split()[0]) / 1000 + WDT_GRACE_S

    def _hand_out(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):
            sent = os.write(self._outer, self._unread)
            del self._unread[:sent]
            self._handed_out = time.monotonic()

    def _bury(self, terminal: int) -> None:
        assert self._process is not None
        self._kill()
        self._process.wait()
        os.close(terminal)
        # libfaketime cannot tidy up after a SIGKILL.
        for name in ("faketime_shm_", "sem.faketime_sem_"):
            Path(f"/dev/shm/{name}{self._process.pid}").unlink(missing_ok=True)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process is not None and self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _last_words(self) -> str:
        return f" It runs in {self.what}. The last that it printed:\n{self.output[-2000:]}"

    def _forget(self, names: Sequence[str]) -> None:
        for name in names:
            (self.directory / name).unlink(missing_ok=True)

    def _read(self, name: str) -> bytes | None:
        with contextlib.suppress(OSError):
            return (self.directory / name).read_bytes()
        return None

    def _write(self, name: str, data: str | bytes) -> None:
        put(self.directory / name, data.encode() if isinstance(data, str) else data)

    def _write_offset(self, seconds: float) -> None:
        self._write("time", f"{seconds:+.6f}")


def _claim(directory: Path) -> int:
    """A file descriptor that keeps other boards out of directory until it is closed."""
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise BoardError(
            f"{directory} is in use by another board: stop that one, or give this one a folder of its own."
        ) from None
    return fd


def _sweep() -> None:
    """Removes what libfaketime could not of boards whose supervisor was killed with them."""
    for left in Path("/dev/shm").glob("*faketime_s*_[0-9]*"):
        if not Path(f"/proc/{left.name.rpartition('_')[2]}").exists():
            left.unlink(missing_ok=True)


def _poll(wanted: Mapping[int, int]) -> dict[int, int]:
    """What of it is so within LOOK_S, by file descriptor; POLLHUP is told unasked."""
    poll = select.poll()
    for fd, events in wanted.items():
        poll.register(fd, events)
    return dict(poll.poll(LOOK_S * 1000))


def _read(fd: int) -> bytes:
    """What there is to read; b"" when there is none, or the other end is gone."""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
