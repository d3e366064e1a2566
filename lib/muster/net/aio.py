"""How an asyncio program waits: loaded only there."""

import asyncio
import select

from ..memory import MICROPYTHON
from .wait import NAP_S, SLICE_MS, TURN


class Stream:
    """What a stream gives, for `async for`. Leaving that early closes nothing: aclose() does."""

    def __init__(self, session, run):
        self._session = session
        self._run = run
        self._over = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self._over:
            run = self._run
            try:
                found = await self._session.run(run.advance())
            except BaseException:
                await self.aclose()
                raise
            if not run.over:
                return found
            await self.aclose()
        raise StopAsyncIteration

    async def aclose(self):
        """Ends the stream, and its connection if there is more to come."""
        self._over = True
        self._run.close()


async def run_async(generator, idle=None):
    """net.wait.run() in an asyncio program: its loop turns while the generator waits."""
    try:
        while True:
            wanted = next(generator)
            if wanted:
                await _ready(wanted)
            else:
                await asyncio.sleep(0 if wanted is TURN else NAP_S)
            if idle:
                idle()
    except StopIteration as e:
        return e.value
    finally:
        generator.close()


# Neither uses wait_for(): a cancellation that comes together with what it waits for, it swallows.
if MICROPYTHON:

    async def _ready(wanted):
        core = asyncio.core  # type: ignore[attr-defined]
        waker = asyncio.create_task(_wake(core.cur_task, core))
        try:
            await _queued(wanted, core._io_queue)
        finally:
            waker.cancel()

    def _queued(wanted, poller):
        queue = poller.queue_write if wanted.events & select.POLLOUT else poller.queue_read
        yield queue(wanted.socket)

    async def _wake(task, core):
        """Lets a task go on that still waits for its socket: the poller has no timeout of its own."""
        await asyncio.sleep_ms(SLICE_MS)  # type: ignore[attr-defined]
        poller = core._io_queue
        if any(task in waiting for waiting in poller.map.values()):
            poller.remove(task)
            core._task_queue.push(task)

else:

    async def _ready(wanted):
        loop = asyncio.get_running_loop()  # type: ignore[attr-defined]
        ready = asyncio.Event()
        add, remove = loop.add_reader, loop.remove_reader
        if wanted.events & select.POLLOUT:
            add, remove = loop.add_writer, loop.remove_writer
        add(wanted.socket, ready.set)
        waker = loop.call_later(SLICE_MS / 1000, ready.set)
        try:
            await ready.wait()
        finally:
            waker.cancel()
            remove(wanted.socket)
