# A device that also talks to its maker's own gateway, with tokens of HMAC-SHA256 (HS256).
#
# Needs /lib/gateway.json, which lies in lib/ when the board is flashed: {"url": "https://…", "secret":
# "…"}; and the root of the gateway's certificate among the others. Shows a task of the maker's own beside
# the agent's, over the same session: it posts a reading every minute.

import asyncio
import json

import muster
from muster import board, clock, hmac, http, jwt

REPORT_S = 60
TOKEN_S = 300


def reading():
    """What the device has to tell: a sensor goes here."""
    return {"uptime": clock.ticks_ms() // 1000}


async def tell(session, url, key):
    while not clock.trusted():  # the agent sets it; a token of the year 2000 has expired
        await asyncio.sleep(1)
    while True:
        now = clock.now()
        token = jwt.encode({"iss": board.serial_number(), "iat": now, "exp": now + TOKEN_S}, key)
        try:
            answer = await session.post(url, json=reading(), headers={"Authorization": "Bearer " + token})
            print("the gateway says", answer.status_code)
            answer.close()
        except muster.Error as e:
            print("no gateway:", e)
        await asyncio.sleep(REPORT_S)


async def main():
    with open("/lib/gateway.json") as f:
        gateway = json.load(f)
    key = hmac.Key(gateway["secret"].encode())  # prepared once, quick ever after
    session = http.AsyncSession()
    agent = muster.Agent(session=session)
    await asyncio.gather(agent.task(), tell(session, gateway["url"], key))


board.watchdog(120)  # whatever ends this program, a reset follows
asyncio.run(main())
