# Runs after boot.py, for as long as the board has power: the agent, under a watchdog.

import muster
from muster import board

WATCHDOG_S = 120
PROMPT_S = 6 * 3600  # the ESP32's watchdog cannot be stopped, only be given longer

# Whatever ends this program otherwise, a reset follows within WATCHDOG_S.
board.watchdog(WATCHDOG_S)
try:
    agent = muster.Agent()
    agent.run()
except muster.ConfigError as e:
    board.watchdog(PROMPT_S)
    print("muster: this board is not set up:", e)
except KeyboardInterrupt:
    board.watchdog(PROMPT_S)  # before all else: a second Ctrl-C may follow
    print("muster: stopped; agent.status() tells how it was, Ctrl-D starts it again")
