# A talking toy in one asyncio program. Hold the button and speak: Coze hears, thinks and answers aloud,
# sentence by sentence. The light blinks and the heartbeat is reported meanwhile; nothing waits for anything
# else.
#
# Needs a chip with PSRAM; an I2S microphone, an I2S amplifier and a button to ground on the pins below. In
# config.json "pm": "none" makes the radio quick. /lib/coze.json, which lies in lib/ when the board is
# flashed, holds bot_id, voice_id and what Coze() takes: client_id, key_id and private_key, or a ready
# token. Coze bills this device, by its MAC.

import asyncio
import io
import json
import struct

import muster
from machine import I2S, Pin
from muster import board, http
from muster.clouds.coze import Coze

LIGHT, BUTTON = 2, 0
MICROPHONE = {"sck": Pin(4), "ws": Pin(5), "sd": Pin(6)}
SPEAKER = {"sck": Pin(15), "ws": Pin(16), "sd": Pin(7)}
RATE = 16000  # samples of 16 bits a second
LONGEST = 10 * 2 * RATE  # bytes of a question: ten seconds
HEADER = 44  # bytes, of a WAV file
ENDS = "。！？\n"  # of sentences
LONG = 200  # characters without one of them: Coze speaks 1,024 bytes at a time


def port(number, mode, pins):
    return I2S(number, mode=mode, bits=16, format=I2S.MONO, rate=RATE, ibuf=16000, **pins)


async def blink(light):
    while True:
        light.value(not light.value())
        await asyncio.sleep_ms(50)


async def turned(button, level):
    while button.value() != level:
        await asyncio.sleep_ms(20)


async def question(button, microphone):
    """Waits for the button. Returns what it hears while that is held: a WAV file in memory."""
    await turned(button, 1)  # of a question that was too long
    await turned(button, 0)
    sound = io.BytesIO(HEADER + LONGEST)  # at once: growing, it would be copied again and again
    sound.write(bytes(HEADER))
    piece = bytearray(1024)
    size = 0
    while not button.value() and size < LONGEST:
        size += sound.write(piece[: await microphone.readinto(piece)])
    sound.seek(0)
    sound.write(struct.pack("<4sI8sIHHII", b"RIFF", 36 + size, b"WAVEfmt ", 16, 1, 1, RATE, 2 * RATE))
    sound.write(struct.pack("<HH4sI", 2, 16, b"data", size))
    return sound


class Toy:
    def __init__(self, coze, bot_id, voice_id):
        self._coze = coze
        self._bot_id = bot_id
        self._voice_id = voice_id
        self._button = Pin(BUTTON, Pin.IN, Pin.PULL_UP)
        self._microphone = asyncio.StreamReader(port(0, I2S.RX, MICROPHONE))
        self._speaker = asyncio.StreamWriter(port(1, I2S.TX, SPEAKER), {})

    async def talk(self):
        while True:
            sound = await question(self._button, self._microphone)
            try:
                await self._answer(await self._coze.transcribe(sound))
            except muster.Error as e:
                print("no answer:", e)

    async def _answer(self, text):
        if not text:
            return
        print("child:", text)
        sentence = ""
        async for piece in self._coze.chat_text(self._bot_id, "child-1", text):
            sentence += piece
            whole = max(sentence.rfind(end) for end in ENDS) + 1
            if whole or len(sentence) > LONG:
                await self._say(sentence[: whole or LONG])
                sentence = sentence[whole or LONG :]
        await self._say(sentence)

    async def _say(self, sentence):
        if not sentence.strip():
            return
        print("toy:", sentence)
        async for piece in self._coze.speech(sentence, self._voice_id, "pcm", sample_rate=RATE):
            self._speaker.out_buf = piece  # its write() would hold up the loop
            await self._speaker.drain()


async def main():
    with open("/lib/coze.json") as f:
        account = json.load(f)
    bot_id, voice_id = account.pop("bot_id"), account.pop("voice_id")
    session = http.AsyncSession()  # one for both: one set of roots, connections kept by host
    agent = muster.Agent(session=session)
    coze = Coze(session, device_id=board.serial_number(), **account)
    await asyncio.gather(blink(Pin(LIGHT, Pin.OUT)), agent.task(), Toy(coze, bot_id, voice_id).talk())


board.watchdog(120)  # whatever ends this program, a reset follows
asyncio.run(main())
