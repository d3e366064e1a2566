"""A board that exists on a laptop: power, resets, watchdog, clock, air, and what it prints."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from select import POLLIN, POLLOUT
from types import TracebackType
from typing import TypeVar

from tools.board import resets
from tools.board.console import Console
from tools.board.flash import Flash, FlashFolder
from tools.board.folder import BoardError, BoardFolder
from tools.board.port import LOOK_S, SerialPort, read, wait
from tools.board.processor import Processor, sweep
from tools.common import boards, littlefs
from tools.common.vm import choose_vm, find_faketime, find_micropython, own_clock

T = TypeVar("T")

HERE = Path(__file__).parent
CHIP, VM = HERE / "chip", HERE / "vm"

AIR: tuple[dict, ...] = ({"ssid": "muster-lab", "key": "password", "join_s": 0.05},)
PORT = "port"
COLD = 946684800  # 2000-01-01, where an ESP32's clock begins

# How esptool greets the ROM. A real chip's reset lines have put it there before; here the greeting does.
SYNC = b"\xc0\x00\x08\x24\x00"

# A fed watchdog is written at most every 50 ms, and looked at every LOOK_S.
WDT_GRACE_S = 0.1


class Board:
    """A virtual ESP32.

    directory: where its flash and its state are kept, one board's at a time; made when it is not there. A
        board that is switched on again in the same directory finds its flash and its NVS as it left them.
    image: a LittleFS image to flash first, at its place behind the firmware; None keeps what is there.
    kind: the board's name in firmware/boards.toml;  flash: the size of its flash, in bytes.
    bare: a new board's flash is erased, without firmware, until esptool brings some.
    heap: of MicroPython, in bytes.
    rtc: Unix time at which the clock starts when the power comes; None for the chip's 2000-01-01.
    air: the networks in reach: dictionaries, as chip/_air.py lists them.
    mac: six bytes.
    cut_at: the power goes during this flash operation, counted from 1 at start(); torn: the part of it that
        is still done, 0 to 1.
    vm: "micropython" or "cpython"; None for MicroPython when there is one.

    Attributes: port, such as /dev/pts/5, and port_link, directory/port, which leads there at every start.
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
        cut_at: int | None = None,
        torn: float = 0.0,
        vm: str | None = None,
    ) -> None:
        micropython = find_micropython()
        self.vm = choose_vm(vm)
        if self.vm == "cpython" and cut_at is not None:
            raise BoardError("cut_at counts flash operations, which a board under CPython does not have.")
        if self.vm == "cpython" and bare:
            raise BoardError("a board under CPython has no flash chip that could be bare: leave out --bare.")
        self.what = f"CPython {sys.version.split()[0]}"
        self._vm_command, interrupt = [sys.executable, str(VM / "cpython.py")], int(signal.SIGINT)
        if self.vm == "micropython" and micropython is not None:
            self.what = micropython.what
            limit = [] if heap is None else ["-X", f"heapsize={heap}"]
            self._vm_command = [*micropython.command, *limit, "-i", "-c", "__import__('bootloader')"]
            interrupt = micropython.interrupt
        self._faketime = find_faketime()
        if self._faketime is None:
            self.what += ", on this computer's clock (libfaketime is for Linux)"

        self.heap, self.rtc, self.cut_at, self.torn = heap, rtc, cut_at, torn
        self.type = boards.board_types()[kind]
        self.mac = mac
        self._networks = air
        self.directory = Path(directory).resolve()
        self._folder = BoardFolder(self.directory)
        try:
            self.flash = self._find_flash(flash, bare)
            if image is not None:
                self.flash.write(image)
            self._folder.write("mac", json.dumps(mac.hex()))
            self._folder.write("faked", json.dumps(self._faketime is not None))
            self.set_air(air)
            self.stations(0)
        except BaseException:
            self._folder.release()
            raise

        self._lock = threading.RLock()
        self._said = bytearray()
        self._heard = threading.Condition(self._lock)
        self._seen = 0
        self._serial = SerialPort()
        self.port = self._serial.name
        # The terminal has another number at each start, this name stays.
        self.port_link = self._folder.link(PORT, self.port)
        self._console = Console(self._print, self.vm == "micropython", interrupt)
        self._processor: Processor | None = None
        self._supervisor: threading.Thread | None = None
        self._powered = False
        self._sleeps: float | None = None  # for so many seconds, deeply; 0 without end
        self._greeting = b""  # of esptool, which the ROM shall answer
        self._fed: bytes | None = None
        self._fed_at = 0.0
        self._look_at = 0.0

    def _find_flash(self, size: int, bare: bool) -> Flash | FlashFolder:
        kind = self.type.name
        before = (self._folder.read("kind") or kind.encode()).decode()
        if before != kind:
            raise BoardError(
                f"{self.directory} holds an {before}, not an {kind}: start it with --board {before}, "
                "or give the other a folder of its own."
            )
        if self.vm == "micropython":
            flash: Flash | FlashFolder = Flash(self.directory / "flash.bin", self.type, size, bare)
        else:
            flash = FlashFolder(self.directory / "flash")
        self._folder.write("kind", kind)
        return flash

    # Power

    def start(self) -> Board:
        """Switches the board on."""
        if self.running:
            raise BoardError("the board is already on.")
        sweep()
        self._folder.forget(*resets.LOST_WITH_THE_POWER)
        self._folder.write("operations", bytes(4))
        self._folder.write("ahead", bytes(8))
        if self._faketime is not None or self.rtc is not None:
            offset = (COLD if self.rtc is None else self.rtc) - time.time()
            self._folder.write("time", f"{offset:+.6f}")
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
            if self._processor is not None:
                self._processor.kill()
        self._serial.ring()
        if self._supervisor is not None:
            self._supervisor.join()

    def reset(self) -> None:
        """Presses the reset button, which the chip takes for a power-on."""
        self.cut_power()
        self.start()

    def panic(self) -> None:
        """Crashes the firmware, as a fault in the C code of MicroPython or of a driver does."""
        with self._lock:
            self._print(resets.PANIC_MESSAGE)
            if self._processor is not None:
                self._processor.kill()

    def pass_time(self, seconds: int) -> None:
        """Lets so much time pass at once: its clock, its ticks and its timers jump ahead.

        The watchdog alone goes by this computer's time, as if it had been fed meanwhile.
        """
        self.shift_clock(seconds)
        # In place: the chip keeps the file open.
        with (self.directory / "ahead").open("r+b") as f:
            ahead = int.from_bytes(f.read(), "little") + 1000 * seconds
            f.seek(0)
            f.write(ahead.to_bytes(8, "little"))

    def shift_clock(self, seconds: float) -> None:
        """Moves the clock alone: that of a chip which sleeps runs as well as its oscillator does."""
        offset = float(self._folder.read("time") or 0) + seconds
        self._folder.write("time", f"{offset:+.6f}")

    def stop(self) -> None:
        """Switches the board off for good and gives its serial port back."""
        self.cut_power()
        self._serial.close()
        self._folder.forget(PORT)
        self._folder.release()

    @property
    def running(self) -> bool:
        """Whether the power is on."""
        return self._supervisor is not None and self._supervisor.is_alive()

    @property
    def pid(self) -> int | None:
        """The process that the chip runs, or ran last; None before the first start."""
        return self._processor.pid if self._processor else None

    def wait_off(self, timeout: float = 10) -> None:
        """Waits until the power went at cut_at. Raises BoardError after timeout seconds."""
        if self._supervisor is not None:
            self._supervisor.join(timeout)
        if self.running:
            raise BoardError(f"the board is still on after {timeout} s.{self._last_words()}")

    def wait_asleep(self, timeout: float = 20) -> float:
        """Waits until it sleeps deeply. Returns for how many seconds; 0 is without end. Raises BoardError."""
        return self._wait_until(lambda: self._sleeps, timeout, "did not fall asleep")

    def __enter__(self) -> Board:
        return self if self.running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What it prints, and what is typed

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
        self._serial.ring()

    def _print(self, data: bytes) -> None:
        with self._heard:
            self._said += data
            self._serial.print(data)
            self._heard.notify_all()

    def _wait_until(self, ask: Callable[[], T | None], timeout: float, failed: str) -> T:
        """Asks until the answer is not None, and returns it."""
        until = time.monotonic() + timeout
        while (answer := ask()) is None:
            if time.monotonic() > until or not self.running:
                raise BoardError(f"the board {failed} within {timeout} s.{self._last_words()}")
            time.sleep(LOOK_S)
        return answer

    def _last_words(self) -> str:
        return f" It runs in {self.what}. The last that it printed:\n{self.output[-2000:]}"

    # Flash

    @property
    def operations(self) -> int:
        """Flash operations (programs and erases) since the power came."""
        return int.from_bytes(self._folder.read("operations") or b"", "little")

    def image(self) -> bytes:
        """The file system's part of the flash as it is now."""
        return self.flash.image()

    def files(self) -> dict[str, bytes]:
        """The files on flash: path -> content. The board should be off, or idle."""
        return self.flash.files()

    # The air

    def set_air(self, networks: Sequence[Mapping]) -> None:
        """Changes the networks in reach, of a running board too."""
        self._folder.write("air", json.dumps([dict(network) for network in networks]))

    def cut_network(self) -> None:
        self.set_air([])

    def restore_network(self) -> None:
        self.set_air(self._networks)

    # Its access point

    @property
    def access_point(self) -> dict | None:
        """What a phone could find now, or None: ssid, key, security, channel, address, and ports.

        "80" and "53" are the ports of the loopback at which the board's own can be reached, once it listens.
        """
        said = self._folder.read("ap.json") if self.running else None
        return json.loads(said) if said else None

    @property
    def portal(self) -> str | None:
        """The URL at which this computer reaches the page of the access point, or None.

        The board sees a request from 127.0.0.k as one from its network's k + 1, and expects its own address
        as the Host.
        """
        found = self.access_point
        return f"http://127.0.0.1:{found['80']}/" if found and "80" in found else None

    def wait_for_portal(self, timeout: float = 20) -> str:
        """Waits until the board's page can be reached. Raises BoardError after timeout seconds."""
        return self._wait_until(lambda: self.portal, timeout, "opened no page")

    def set_pin(self, number: int, level: int) -> None:
        """Puts 0 or 1 on a pin from outside, as a button does, of a running board too."""
        self._folder.write(f"pin{number}", str(level))

    def say(self, sound: bytes, port: int = 0) -> None:
        """What the microphone on this I2S port hears, again and again: samples, as the program takes them."""
        self._folder.write(f"i2s{port}.in", sound)

    def said(self, port: int = 1) -> bytes:
        """All that has gone to the loudspeaker on this I2S port since the board was made."""
        return self._folder.read(f"i2s{port}.out") or b""

    def plug_in(self, cable: bool) -> None:
        """Plugs an Ethernet cable in, or out, of a running board too."""
        self._folder.write("cable", json.dumps(cable))

    def set_modem(self, **modem: object) -> None:
        """Puts a modem on UART 1, or changes it, of a running board too; chip/_modem.py lists its keys."""
        self._folder.write("modem", json.dumps(modem))

    def stations(self, number: int) -> None:
        """So many phones are in the access point's network."""
        self._folder.write("stations", json.dumps(number))

    # From one reset to the next, in a thread of its own

    def _run(self) -> None:
        try:
            self._supervise()
        except OSError as error:
            self._print(f"\r\nthe board cannot go on: {error}\r\n".encode())

    def _supervise(self) -> None:
        cause, into_raw_repl = resets.PWRON_RESET, False
        while self._powered:
            self._come_out_of_reset(cause)
            if self._greeting or not self.flash.bootable:
                self._run_rom()
                cause, into_raw_repl = resets.PWRON_RESET, False
            else:
                cause = self._run_vm(into_raw_repl)
                into_raw_repl = cause == resets.SOFT_RESET and self._console.raw_repl

    def _come_out_of_reset(self, cause: int) -> None:
        self._folder.forget(*resets.LOST[cause])
        if cause != resets.SOFT_RESET:
            self._fed = None
        self._folder.write("cause", str(cause))
        self._print(resets.ROM_MESSAGE[cause])
        if not self.flash.bootable:
            self._print(resets.NO_FIRMWARE_MESSAGE)

    def _run_rom(self) -> None:
        """The chip's ROM has the port, until the one who held it lets go."""
        from tools.board import rom  # esptool takes its time to load

        typed, self._greeting = self._greeting, b""
        line = rom.Line(self._serial, typed, lambda: self._powered)
        try:
            rom.download(self.type.chip, self.flash.path, self.mac, line)
        finally:
            self._serial.hold()

    def _run_vm(self, into_raw_repl: bool) -> int:
        """Runs the VM until it ends, for whatever reason. Returns the cause of the reset that follows."""
        environment = self._environment(main=not into_raw_repl)
        with self._lock:
            if not self._powered:
                return resets.PWRON_RESET
            processor = self._processor = Processor(
                self._vm_command, environment, self.directory, raw=self.vm == "micropython"
            )
            self._console.attach(processor.terminal, processor.pid, into_raw_repl)
        try:
            bitten = self._attend(processor)
        finally:
            with self._lock:
                self._console.detach()
            status = processor.bury()
        if bitten:
            return resets.WDT_RESET
        return resets.HARD_RESET if self._greeting or not self._powered else self._cause_of_end(status)

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
        return environment | (own_clock(self._faketime, self.directory) if self._faketime else {})

    def _attend(self, processor: Processor) -> bool:
        """Relays until the VM is gone. True when the watchdog bit."""
        terminal, serial = processor.terminal, self._serial
        while True:
            with self._lock:
                self._console.pump()
            wanted = {serial.bell: POLLIN, serial.fd: POLLIN | (POLLOUT if serial.unread else 0)}
            if serial.takes_more:
                wanted[terminal] = POLLIN
            ready = wait(wanted)
            if serial.bell in ready:
                read(serial.bell)
            if ready.get(serial.fd, 0) & POLLIN:
                typed = read(serial.fd)
                if SYNC in typed and self.vm == "micropython":
                    self._greeting = typed[typed.index(SYNC) :]
                    serial.drop_unread()
                    return False
                self.write(typed)
            if ready.get(serial.fd, 0) & POLLOUT:
                serial.hand_out()
            if terminal in ready:
                data = read(terminal)
                if not data:
                    return False
                self._console.hear(data)
            if self._hungry():
                self._print(resets.WDT_MESSAGE)
                processor.kill()
                return True

    def _hungry(self) -> bool:
        """Whether the watchdog has waited longer than its timeout, at the last look."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        feed = self._folder.read("wdt") or b""
        if feed != self._fed:
            self._fed, self._fed_at = feed, now
        return feed != b"" and now - self._fed_at > int(feed.split()[0]) / 1000 + WDT_GRACE_S

    def _cause_of_end(self, status: int) -> int:
        why = (self._folder.read("exit") or b"").decode().split()
        if not why:
            if self._console.booting:
                heap = f", with a heap of {self.heap // 1024:,} KB" if self.heap else ""
                self._print(f"\r\nthe VM ended with status {status} before it had started{heap}\r\n".encode())
                self._powered = False
            return resets.SOFT_RESET if status in (0, 1, -signal.SIGINT) else resets.HARD_RESET
        if why[0] == "cut":
            self._powered = False
        elif why[0] == "deepsleep":
            self._sleep(int(why[1]) / 1000)
            return resets.DEEPSLEEP_RESET
        return resets.SOFT_RESET if why[0] == "soft" else resets.HARD_RESET

    def _sleep(self, seconds: float) -> None:
        until = self._passed() + seconds
        self._sleeps = seconds
        while self._powered and (seconds == 0 or self._passed() < until):
            time.sleep(LOOK_S)
        self._sleeps = None

    def _passed(self) -> float:
        """Seconds by a clock that nobody sets: this computer's, and what pass_time() has let pass."""
        return time.monotonic() + int.from_bytes(self._folder.read("ahead") or b"", "little") / 1000
