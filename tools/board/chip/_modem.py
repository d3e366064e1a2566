"""A cellular modem on the chip's UART, as the board's setting "modem" describes it:

    imei     its number
    carrier  False: the network has lost it, or never had it

Source: 3GPP TS 27.007 for the commands, ITU-T V.250 for how they are answered and for +++. What PPP says on
the line is not played, only that it does.
"""

import _board

_GUARD_MS = 1000


class _Modem:
    """It has power of its own: a reset of the chip leaves it on line."""

    def __init__(self):
        self._echo = True
        self._line = b""
        self._told = b""
        self._heard_ms = _board.ticks_ms() - _GUARD_MS

    @property
    def on_line(self):
        """Whether what comes is PPP's."""
        return _board.read("on_line") is not None

    def _go(self, on_line):
        if on_line:
            _board.write("on_line", b"")
        else:
            _board.forget("on_line")

    def look(self):
        """Leaves the line once there is no carrier."""
        if self.on_line and not self._carrier():
            self._go(False)
            self._told += b"\r\nNO CARRIER\r\n"

    def waiting(self):
        self.look()
        return len(self._told)

    def say(self, size):
        said, self._told = self._told[:size], self._told[size:]
        return said

    def hear(self, data):
        self.look()
        now = _board.ticks_ms()
        quiet, self._heard_ms = now - self._heard_ms >= _GUARD_MS, now
        if self.on_line:
            if data == b"+++" and quiet:
                self._go(False)
                self._answer(b"OK")
            return
        if self._echo:
            self._told += data
        self._line += data
        while b"\r" in self._line:
            command, _, self._line = self._line.partition(b"\r")
            # What stands before AT is none of its business, as the +++ of one that was not on line.
            at = command.upper().rfind(b"AT")
            if at >= 0:
                self._execute(command[at + 2 :].strip().upper())

    def _execute(self, command):
        if command[:2] in (b"E0", b"E1"):
            self._echo = command[:2] == b"E1"
            command = command[2:]
        if command == b"+CGSN":
            self._told += b"\r\n%s\r\n" % _board.setting("modem")["imei"].encode()
        elif command == b"D*99#":
            self._go(self._carrier())
            self._answer(b"CONNECT" if self.on_line else b"NO CARRIER")
            return
        elif command not in (b"", b"H") and not command.startswith(b"+CGDCONT="):
            self._answer(b"ERROR")
            return
        self._answer(b"OK")

    def _answer(self, what):
        self._told += b"\r\n" + what + b"\r\n"

    @staticmethod
    def _carrier():
        return _board.setting("modem").get("carrier", True)


modem = _Modem()
