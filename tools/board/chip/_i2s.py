"""machine.I2S: a microphone that hears what the board's folder holds, and a loudspeaker that fills it.

Source: extmod/machine_i2s.c and ports/esp32/machine_i2s.c of MicroPython. Samples come and go by the clock,
as DMA has them; what a microphone's buffer has no room for, its oldest, is lost. Once a poll has asked for
it, no call waits. Its third way to work, irq(), is not here.
"""

import _board

_stream = _board.load("_stream")

_PORTS = 2
_DMA_FRAMES = 256  # of one buffer: less is not told of


class I2S(_stream["Stream"]):
    MONO = 0
    STEREO = 1
    # I2S_MODE_MASTER | I2S_MODE_RX, and TX
    RX = 9
    TX = 5

    def __init__(self, id, **settings):
        if not 0 <= id < _PORTS:
            raise ValueError("invalid id")
        self._id = id
        self.init(**settings)

    def init(self, *, sck, ws, sd, mode, bits, format, rate, ibuf):
        if mode not in (self.RX, self.TX):
            raise ValueError("invalid mode")
        if bits not in (16, 32):
            raise ValueError("invalid bits")
        if format not in (self.MONO, self.STEREO):
            raise ValueError("invalid format")
        self._mode = mode
        self._frame = bits // 8 * (1 + format)
        self._rate = rate
        self._ibuf = ibuf
        self._waits = True
        self._began = _board.ticks_ms()
        # Of a microphone: bytes that were taken, or lost. Of a loudspeaker: bytes that will have been heard.
        self._done = 0

    def deinit(self):
        self._mode = None

    def readinto(self, buffer):
        """The bytes that were read; with a poll before it those that are there, else all that fit."""
        self._require(self.RX)
        if len(buffer) % self._frame:
            raise OSError(22)
        while self._waits and self._heard() < len(buffer):
            _board.sleep_ms(1)
        n = min(len(buffer), self._heard())
        sound = _board.read("i2s%d.in" % self._id)
        for i in range(n):
            buffer[i] = sound[(self._done + i) % len(sound)] if sound else 0
        self._done += n
        return n

    def write(self, buffer):
        """The bytes that were taken; with a poll before it those that have room, else all."""
        self._require(self.TX)
        taken = 0
        while True:
            n = min(len(buffer) - taken, self._room())
            if n:
                _board.append("i2s%d.out" % self._id, bytes(buffer[taken : taken + n]))
                self._done += n
                taken += n
            if not self._waits or taken == len(buffer):
                return taken
            _board.sleep_ms(1)

    def ioctl(self, request, flags):
        self._waits = False
        enough = _DMA_FRAMES * self._frame
        return _stream["polled"](
            request,
            flags,
            self._mode == self.RX and self._heard() >= enough,
            self._mode == self.TX and self._room() >= enough,
        )

    def _require(self, mode):
        if self._mode != mode:
            raise OSError(1)

    def _passed(self):
        """How many bytes have come or gone since it began."""
        return (_board.ticks_ms() - self._began) * self._rate // 1000 * self._frame

    def _heard(self):
        """How many bytes are there to be read."""
        passed = self._passed()
        self._done = max(self._done, passed - self._ibuf // self._frame * self._frame)
        return passed - self._done

    def _room(self):
        """How many bytes can be written."""
        passed = self._passed()
        self._done = max(self._done, passed)  # silence, where there was nothing
        return self._ibuf - (self._done - passed)
