"""network.PPP over a UART whose modem is on line.

Source: the library reference and extmod/network_ppp_lwip.c of MicroPython, which ports/esp32/network_ppp.c
follows: connect() returns at once, a link that the peer ends is an error, and connects again when asked.
"""

import errno

import _board

_modem = _board.load("_modem")["modem"]

_INACTIVE, _, _ERROR, _CONNECTING, _CONNECTED = range(5)
_PEER_DEAD = 9  # PPPERR_PEERDEAD
_NEGOTIATES_MS = 200
_ADDRESSES = ("10.64.0.2", "255.255.255.255", "10.64.64.64", "10.64.0.1")


class PPP:
    SEC_NONE = AUTH_NONE = 0
    SEC_PAP = AUTH_PAP = 1
    SEC_CHAP = AUTH_CHAP = 2

    def __init__(self, stream):
        self._stream = stream
        self._state = _INACTIVE
        self._began = 0

    def connect(self, *, security=SEC_NONE, user=None, key=None):
        if self._look() in (_CONNECTING, _CONNECTED):
            raise OSError(errno.EALREADY)
        if security not in (self.SEC_NONE, self.SEC_PAP, self.SEC_CHAP):
            raise ValueError("invalid auth")
        self._stream.irq(self.poll, self._stream.IRQ_RXIDLE)
        self._state = _CONNECTING
        self._began = _board.ticks_ms()

    def disconnect(self):
        if self._look() in (_CONNECTING, _CONNECTED):
            self._stream.irq(None)
            self._state = _INACTIVE

    def isconnected(self):
        return self._look() == _CONNECTED

    def status(self):
        state = self._look()
        return -_PEER_DEAD if state == _ERROR else state

    def poll(self, irq_arg=None):
        return 0 if self._look() > _ERROR else -errno.EPERM

    def config(self, param=None, **settings):
        if param is None:
            self._stream = settings.get("stream", self._stream)
        elif param == "stream":
            return self._stream
        else:
            raise ValueError("unknown config param")

    def ifconfig(self):
        """(ip, netmask, gateway, dns)"""
        state = self._look()
        if state == _INACTIVE:
            return (None,) * 4
        return _ADDRESSES if state == _CONNECTED else ("0.0.0.0",) * 4

    def ipconfig(self, param):
        ip, netmask, gateway, _ = self.ifconfig()
        known = {"addr4": (ip, netmask), "gw4": gateway}
        if param not in known:
            raise ValueError("unexpected key")
        return known[param]

    def _look(self):
        _modem.look()
        if self._state == _CONNECTED and not _modem.on_line:
            self._state = _ERROR
        negotiated = _modem.on_line and _board.ticks_ms() - self._began >= _NEGOTIATES_MS
        if self._state == _CONNECTING and negotiated:
            self._state = _CONNECTED
        return self._state
