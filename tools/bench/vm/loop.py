"""What an asyncio program waits for beside muster's requests.

Reads one line of JSON: the URLs of a Coze that is silent for a while and of a quick server, their roots, how
often the silent one is asked and how often the quick one. Prints, in microseconds, the longest stall of the
loop in each chat, and for each round a blocking and an asyncio request over a kept connection.
"""

import asyncio
import gc
import json
import sys
from time import ticks_diff, ticks_us

from muster import http
from muster.clouds.coze import Coze

NAP_S = 0.002  # short beside what a stall may last, and a processor is left for the servers


async def longest_stall(task):
    longest, last = 0, ticks_us()
    while not task.done():
        await asyncio.sleep(NAP_S)
        now = ticks_us()
        longest, last = max(longest, ticks_diff(now, last)), now
    return longest - int(NAP_S * 1e6)


async def chat(url, ca):
    session = http.AsyncSession(ca)
    coze = Coze(session, token="token", base_url=url)
    said = ""
    async for piece in coze.chat_text("7379462189365198898", "child-1", "今天天气怎么样？"):
        said += piece
    session.close()
    assert said


async def stall(url, ca):
    gc.collect()
    task = asyncio.create_task(chat(url, ca))
    longest = await longest_stall(task)
    await task
    return longest


async def post(session, url):
    start = ticks_us()
    answer = await session.post(url, data=b"{}")
    took = ticks_diff(ticks_us(), start)
    assert answer.status_code == 200
    return took


def post_blocking(session, url):
    start = ticks_us()
    answer = session.post(url, data=b"{}")
    took = ticks_diff(ticks_us(), start)
    assert answer.status_code == 200
    return took


async def in_turns(url, ca, rounds):
    blocking, waiting = http.Session(ca), http.AsyncSession(ca)
    post_blocking(blocking, url)
    await post(waiting, url)
    posts = []
    for _ in range(rounds):
        posts.append((post_blocking(blocking, url), await post(waiting, url)))
    return posts


async def main(silent, quick, ca, chats, rounds):
    stalls = []
    for _ in range(chats):
        stalls.append(await stall(silent, ca))
    return {"stalls": stalls, "posts": await in_turns(quick, ca, rounds)}


print(json.dumps(asyncio.run(main(*json.loads(sys.stdin.readline())))))
