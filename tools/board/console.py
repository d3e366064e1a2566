"""The serial line of a virtual board: between the VM's terminal and whoever holds the other end.

It does for the VM what a UART and ESP32's start-up do for a chip: line ends are CRLF, typed characters wait
until somebody reads them, Ctrl-C interrupts at once, and a soft reset in the raw REPL comes back to it.
"""

import ctypes
import os
import re
import signal
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

STARTED = b"\0[boot]\0"
PROMPT = b"\0[prompt]\0"
BINARY = b"\0[binary]\0"
TEXT = b"\0[text]\0"
MARK = re.compile(rb"\0\[(?:boot|prompt|binary|text)\]\0")
PART_OF_MARK = re.compile(rb"\0(?:\[[a-z]*\]?)?$")

RAW_REPL = b"raw REPL; CTRL-B to exit\r\n"
RAW_PASTE = b"\x05A\x01"
RAW_PASTE_UNSUPPORTED = b"R\x00"
CTRL_A, CTRL_C = b"\x01", b"\x03"

AT_PROMPT = re.compile(rb"(?:>>> |\.\.\. +|=== |[\n\x04]>)$")
# The REPL ends its lines with CRLF by itself, programs do not.
FRIENDLY_PROMPT = b"\r\n>>> "

# After these the VM may switch its terminal between cooked and raw, which throws away what waits to be read.
SWITCHES = re.compile(rb"[\x01-\x04\r\n]")
SWITCHES_IN_RAW_REPL = re.compile(rb"[\x02-\x04]")

# Whether one can ask if a process catches SIGINT. After raw paste the Unix port leaves the terminal raw while
# the program runs, so that nothing else tells when Ctrl-C must become a signal.
TELLS_WHO_CATCHES = sys.platform == "linux"

# How long typed characters wait for a prompt that may never come.
AFTER_LINE_S = 0.25
AFTER_CTRL_C_S = 5
# A second SIGINT before the first was handled ends the VM, and a busy machine takes its time.
BETWEEN_CTRL_C_S = 0.5


def _send_signal(pid: int, number: int) -> None:
    """Sends it to a process's first thread, where the program runs: a halted process gives it to any."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "tgkill"):
        libc.tgkill(pid, pid, number)
    else:
        os.kill(pid, number)


class Console:
    """One VM's terminal at a time.

    emit: called with bytes for the world outside. raw_at_prompt: the VM reads its lines with the terminal in
        raw mode, as MicroPython does; CPython leaves it cooked. interrupt: the signal that is Ctrl-C for a
        program.
    """

    def __init__(
        self, emit: Callable[[bytes], None], raw_at_prompt: bool, interrupt: int = signal.SIGINT
    ) -> None:
        self.emit = emit
        self.raw_at_prompt = raw_at_prompt
        self.interrupt = interrupt
        self.booting = True
        self.raw_repl = False
        self._typed = bytearray()
        self._terminal = -1

    def attach(self, terminal: int, pid: int, into_raw_repl: bool) -> None:
        """A VM has just been started on terminal."""
        self._terminal = terminal
        self._pid = pid
        self.booting = True
        self._into_raw_repl = into_raw_repl
        self._swallowing = False
        self._held = b""
        self._recent = b""
        self._after_cr = False
        self._hold_until = 0.0
        self._last_typed = 0.0
        self._last_ctrl_c = 0.0
        self.raw_repl = False
        self._binary = False

    def detach(self) -> None:
        self._show(self._held)
        self._terminal = -1

    def type(self, data: bytes) -> None:
        self._typed += data

    def hear(self, data: bytes) -> None:
        """What the VM has written."""
        data = self._held + data
        start = 0
        for mark in MARK.finditer(data):
            self._show(data[start : mark.start()])
            start = mark.end()
            if mark[0] == STARTED:
                self.booting = False
            elif mark[0] == PROMPT:
                self._swallowing = self._into_raw_repl
            else:
                self._binary = mark[0] == BINARY
        # The other side waits for every byte, and answers before the VM writes TEXT, which thus comes whole.
        unfinished = None if self._binary else PART_OF_MARK.search(data, start)
        end = unfinished.start() if unfinished else len(data)
        self._held = data[end:]
        self._show(data[start:end])

    def _show(self, data: bytes) -> None:
        if self._binary:
            self.emit(data)
            return
        self._recent = (self._recent + data)[-256:]
        if RAW_REPL in self._recent:
            self.raw_repl = True
            if self._swallowing:
                self._swallowing = False
                data = self._recent[self._recent.index(RAW_REPL) :]
            self._recent = self._recent[self._recent.rindex(RAW_REPL) + len(RAW_REPL) - 1 :]
        elif self._recent.endswith(FRIENDLY_PROMPT):
            self.raw_repl = False
            if self._swallowing:
                self._recent = b""
                self._send(CTRL_A)
        if data and not self._swallowing:
            self.emit(self._with_crlf(data))

    def _with_crlf(self, data: bytes) -> bytes:
        text = re.sub(rb"(?<!\r)\n", b"\r\n", data)
        if self._after_cr and data.startswith(b"\n"):
            text = text[1:]
        self._after_cr = data.endswith(b"\r")
        return text

    def pump(self) -> None:
        """Hands the VM as much of what was typed as it can take now."""
        while self._typed and self._terminal != -1 and not self.booting and not self._swallowing:
            if self._binary:
                if not self._pass_on(len(self._typed)):
                    return
                continue
            now = time.monotonic()
            if self._at_prompt():
                self._hold_until = 0.0
            ready = now >= self._hold_until
            if self._typed.startswith(CTRL_C):
                if not self._interrupt(now, ready):
                    return
                continue
            if not ready:
                return
            if not TELLS_WHO_CATCHES and self.raw_repl and RAW_PASTE.startswith(bytes(self._typed[:3])):
                if len(self._typed) < 3:
                    return
                del self._typed[:3]
                self.emit(RAW_PASTE_UNSUPPORTED)
                continue
            switch = (SWITCHES_IN_RAW_REPL if self.raw_repl else SWITCHES).search(self._typed)
            before_ctrl_c = self._typed.find(CTRL_C)
            end = switch.end() if switch else len(self._typed)
            if before_ctrl_c != -1:
                end = min(end, before_ctrl_c)
            if not self._pass_on(end):
                return
            if switch and switch.end() == end:
                self._hold(now, AFTER_LINE_S)

    def _pass_on(self, end: int) -> bool:
        """Whether the VM took all that was typed up to end."""
        sent = self._send(bytes(self._typed[:end]))
        del self._typed[:sent]
        return sent == end

    def _interrupt(self, now: float, ready: bool) -> bool:
        if not ready and now - self._last_typed < BETWEEN_CTRL_C_S / 2:
            return False
        if now - self._last_ctrl_c < BETWEEN_CTRL_C_S and not self._at_prompt():
            return False
        if self._signal():
            self._last_ctrl_c = now
            self._hold(now, AFTER_CTRL_C_S)
        elif not ready or (self.raw_at_prompt and self._cooked()):
            # Between a prompt and a program, SIGINT would end the VM, and a character be thrown away.
            return False
        else:
            self._send(CTRL_C)
        del self._typed[:1]
        return True

    def _hold(self, now: float, seconds: float) -> None:
        self._recent = b""
        self._last_typed = now
        self._hold_until = now + seconds

    def _send(self, data: bytes) -> int:
        try:
            return os.write(self._terminal, data)
        except (BlockingIOError, OSError):
            return 0

    def _at_prompt(self) -> bool:
        return bool(AT_PROMPT.search(self._recent)) and not (self.raw_at_prompt and self._cooked())

    def _cooked(self) -> bool:
        """The VM's terminal is raw while it reads, and as it was given while most programs run."""
        try:
            return bool(termios.tcgetattr(self._terminal)[3] & termios.ISIG)
        except (termios.error, OSError):
            return True

    def _signal(self) -> bool:
        """Whether the VM runs a program, and has now been interrupted."""
        if not TELLS_WHO_CATCHES:
            cooked = self._cooked()
            if cooked:
                os.kill(self._pid, self.interrupt)
            return cooked
        if not self._catches():
            return False
        # Halted, it cannot end its program between the question and the signal.
        os.kill(self._pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self._pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        try:
            catches = self._catches()
            if catches:
                _send_signal(self._pid, self.interrupt)
            return catches
        finally:
            os.kill(self._pid, signal.SIGCONT)

    def _catches(self) -> bool:
        """Whether it catches SIGINT, as it does while a program runs."""
        try:
            status = Path(f"/proc/{self._pid}/status").read_text()
        except OSError:
            return False
        caught = int(re.search(r"^SigCgt:\s*(\S+)", status, re.MULTILINE)[1], 16)  # type: ignore[index]
        return bool(caught >> (signal.SIGINT - 1) & 1)
