"""The chip's ROM in download mode, where a virtual board's VM would be: esptool's other end.

python rom.py CHIP FLASH MAC: speaks on standard input and output, and changes the file FLASH.
The protocol is esp32-mock-bootloader's; the flash, its size and the MAC are this board's.
"""

from __future__ import annotations

import mmap
import os
import re
import sys
import threading

from esp32_mock_bootloader import protocol, registers, server

FRAME_END = b"\xc0"
# The end of flashing, without the flag that says to stay here.
REBOOT = re.compile(rb"\xc0\x00\x04\x04\x00....\x00{4}\xc0", re.DOTALL)


class StandardStreams:
    """The serial line, as the protocol's server wants a connection to be."""

    def set_timeout(self, timeout: float) -> None:
        # It would take a slow computer for a lost answer. Whoever waits in vain is ended from outside.
        pass

    def recv(self, size: int) -> bytes:
        # Whole frames: of what comes in pieces the server decodes all, byte by byte, with each piece. What
        # somebody types behind one has no end.
        data = piece = os.read(0, size)
        while piece and not data.endswith(FRAME_END) and data.count(FRAME_END) % 2:
            data += (piece := os.read(0, size))
        self.rebooting = REBOOT.search(data) is not None
        return data

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[os.write(1, data) :]
        if self.rebooting:
            os._exit(0)

    def abort_empty_session(self) -> bool:
        return True

    def close(self) -> None:
        pass


class FlashFile(server.FlashImage):
    def __init__(self, content: mmap.mmap) -> None:
        super().__init__()
        self.data = content  # type: ignore[assignment]


def main(chip: str, path: str, mac: str) -> None:
    size = os.path.getsize(path)
    protocol.FLASH_MOCK_SIZE = 0
    # The last byte of a JEDEC identification is the size, as a power of two.
    protocol.MOCK_FLASH_ID = protocol.MOCK_FLASH_ID & 0xFFFF | (size.bit_length() - 1) << 16
    registers.mac_bytes_for_chip = lambda _: tuple(bytes.fromhex(mac))  # type: ignore[assignment]
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), size) as content:
        # Without exit_on_disconnect it would forget the stub three seconds after a part of the flash is done.
        never = threading.Event()
        server.handle_client(  # type: ignore[call-arg]
            StandardStreams(), never, chip, exit_on_disconnect=True, flash=FlashFile(content)
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
