"""The chip's ROM in download mode: esptool's other end.

The protocol is esp32-mock-bootloader's; the flash, its size and the MAC are a board's own. What the server
keeps for the whole process is kept for each thread here, since boards run side by side.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from select import POLLHUP, POLLIN, POLLOUT

from esp32_mock_bootloader import protocol, registers, server

from tools.board.port import SerialPort, read, wait

FRAME_END = b"\xc0"
# The end of flashing, without the flag that says to stay here.
REBOOT = re.compile(rb"\xc0\x00\x04\x04\x00....\x00{4}\xc0", re.DOTALL)

_this = threading.local()  # the chip of this thread: its mac as a tuple, and its flash_id


class Line:
    """The serial line, as the protocol's server wants a connection to be.

    typed: what esptool has sent so far. powered: tells whether the board is on.
    Methods raise ConnectionResetError when the power goes, when whoever held the port lets go of it, and when
    the program is to start.
    """

    def __init__(self, port: SerialPort, typed: bytes, powered: Callable[[], bool]) -> None:
        self._port, self._typed, self._powered = port, typed, powered
        self._rebooting = False

    def set_timeout(self, timeout: float) -> None:
        # It would take a slow computer for a lost answer. Whoever waits in vain is ended from outside.
        pass

    def recv(self, size: int) -> bytes:
        # Whole frames: of what comes in pieces the server decodes all, byte by byte, with each piece. What
        # somebody types behind one has no end.
        data = self._next()
        while not data.endswith(FRAME_END) and data.count(FRAME_END) % 2:
            data += self._next()
        self._rebooting = REBOOT.search(data) is not None
        return data

    def sendall(self, data: bytes) -> None:
        while data:
            self._wait(POLLOUT)
            data = data[os.write(self._port.fd, data) :]
        if self._rebooting:
            raise ConnectionResetError

    def _next(self) -> bytes:
        typed, self._typed = self._typed, b""
        if not typed:
            self._wait(POLLIN)
            typed = read(self._port.fd)
            self._port.let_go()
        return typed

    def _wait(self, event: int) -> None:
        while self._powered():
            ready = wait({self._port.bell: POLLIN, self._port.fd: event})
            if self._port.bell in ready:
                read(self._port.bell)
            found = ready.get(self._port.fd, 0)
            if found & POLLHUP:
                break  # nobody has the port open any more
            if found:
                return
        raise ConnectionResetError

    def abort_empty_session(self) -> bool:
        return True

    def close(self) -> None:
        pass


class FlashFile(server.FlashImage):
    def __init__(self, content: mmap.mmap) -> None:
        super().__init__()
        self.data = content  # type: ignore[assignment]


class SpiFlash(server.SpiPeripheralMock):
    def read_reg(self, addr: int) -> int:
        value = super().read_reg(addr)
        return _this.flash_id if value == protocol.MOCK_FLASH_ID else value


protocol.FLASH_MOCK_SIZE = 0
server.SpiPeripheralMock = SpiFlash  # type: ignore[misc]
registers.mac_bytes_for_chip = lambda _: _this.mac  # type: ignore[assignment]
registers.rom_profile = registers.rom_profile.__wrapped__  # it would keep the MAC of the first


def download(chip: str, flash: Path, mac: bytes, line: Line) -> None:
    """Answers on the line, and changes the file flash, until the line raises ConnectionResetError."""
    size = flash.stat().st_size
    # The last byte of a JEDEC identification is the size, as a power of two.
    _this.flash_id = protocol.MOCK_FLASH_ID & 0xFFFF | (size.bit_length() - 1) << 16
    _this.mac = tuple(mac)
    with flash.open("r+b") as file, mmap.mmap(file.fileno(), size) as content:
        # Without exit_on_disconnect it would forget the stub three seconds after a part of the flash is done.
        never = threading.Event()
        # A request that is too short for its arguments resets the chip.
        with contextlib.suppress(struct.error):
            server.handle_client(  # type: ignore[call-arg]
                line, never, chip, exit_on_disconnect=True, flash=FlashFile(content)
            )
