"""Safe mode: the agent alone, for an hour, where the program crashed again and again."""

import time

from . import board, clock, last, log
from .errors import ConfigError

HOUR_MS = 3600000


def run():
    """Joins, reports and updates as is due, then resets the board. Ctrl-C ends it.

    Returns at once where /config.json is none of an agent's: then the program is all that can run.
    """
    try:
        from .agent import Agent

        agent = Agent()
        hurried = False
        agent._untold = True  # it reports at once, and then looks for an update: that is what can help
        board.watchdog(120)
        log.warning("the program crashed again and again: without it for an hour, Ctrl-C ends that")
        end = clock.ticks_add(clock.ticks_ms(), HOUR_MS)
        while clock.ticks_diff(end, clock.ticks_ms()) > 0:
            pause = agent.step()
            if not hurried and agent._look is not None:
                agent.look()
                pause, hurried = 0, True
            time.sleep(min(pause, 1))
    except ConfigError:
        return
    except KeyboardInterrupt:
        board.watchdog(6 * 3600)
        raise
    finally:
        last.success()  # three more crashes, and not one, until the next hour
    board.reset()
