# Runs after boot.py, for as long as the board has power: the agent, under a watchdog.

import muster
from muster import board, memory

WATCHDOG_S = 120
PROMPT_S = 6 * 3600  # the ESP32's watchdog cannot be stopped, only be given longer


def to_prompt(*why):
    board.watchdog(PROMPT_S)  # before all else: a second Ctrl-C may follow
    print("muster:", *why)
    memory.call(lambda: muster.last.asked())  # a reset from there is no crash


# Whatever ends this program otherwise, a reset follows within WATCHDOG_S.
board.watchdog(WATCHDOG_S)
try:
    agent = muster.Agent()
    agent.run()
except muster.ConfigError as e:
    to_prompt("this board is not set up:", e)
except KeyboardInterrupt:
    to_prompt("stopped; agent.status() tells how it was, Ctrl-D starts it again")
except Exception as e:
    muster.last.ended(e)
    raise
