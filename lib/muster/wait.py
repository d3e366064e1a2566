"""Two drivers for one kind of generator.

Whatever in muster has to wait (a connection, an answer, Wi-Fi, NTP) is a
generator that yields instead: a poll object when a socket is what it waits for,
None when only time can help, False when it has been busy and others may want a
turn. It watches its own deadline. So the same code serves a plain program, which
blocks here, and an asyncio program, whose loop keeps turning.
"""

import time

# How long one poll may last: a watchdog is fed and a Ctrl-C is seen that often.
SLICE_MS = 200
NAP_S = 0.02


def run(generator, idle=None):
    """Runs the generator to its end, blocking, and returns what it returns.

    idle   called at every turn of the wait, at least five times a second
    """
    try:
        while True:
            poller = next(generator)
            if poller:
                poller.poll(SLICE_MS)
            elif poller is None:
                time.sleep(NAP_S)
            if idle:
                idle()
    except StopIteration as e:
        return e.value
    finally:
        # An interrupted wait leaves no socket open; a finished generator does not mind.
        generator.close()


async def run_async(generator, idle=None):
    """The same in an asyncio program: its loop turns while the generator waits."""
    import asyncio

    try:
        while True:
            busy = next(generator) is False
            await asyncio.sleep(0 if busy else NAP_S)
            if idle:
                idle()
    except StopIteration as e:
        return e.value
    finally:
        generator.close()
