# A talking toy in one asyncio program: its light blinks, Coze answers the child, and the heartbeat is
# reported. None of the three waits for another. Copy it to the board as main.py, and let config.json
# name "coze" under "clouds". A file /coze.json holds bot_id and what Coze() takes: client_id, key_id
# and private_key, or a ready token.

import asyncio
import json

import muster
from machine import Pin
from muster import http
from muster.clouds.coze import Coze

LED = 2  # the pin of the light


async def blink(led):
    while True:
        led.value(not led.value())
        await asyncio.sleep_ms(50)


async def heard():
    """Returns what the child says: a microphone and coze.transcribe() go here."""
    await asyncio.sleep(5)
    return "讲个故事吧。"


async def talk(coze, bot_id):
    while True:
        question = await heard()
        try:
            async for piece in coze.chat_text(bot_id, "child-1", question):
                print(piece, end="")
            print()
        except muster.Error as e:
            print("no answer:", e)


async def main():
    with open("/coze.json") as f:
        account = json.load(f)
    bot_id = account.pop("bot_id")
    session = http.AsyncSession()  # one for both: one set of roots, connections kept by host
    agent = muster.Agent(session=session)
    await asyncio.gather(blink(Pin(LED, Pin.OUT)), agent.task(), talk(Coze(session, **account), bot_id))


asyncio.run(main())
