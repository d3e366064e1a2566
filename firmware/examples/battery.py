# A device on a battery: it wakes for its heartbeat, and sleeps until the next.
#
# Needs a button to ground: held while the device starts, it keeps it awake, for mpremote. Shows what deep
# sleep asks for. The chip starts anew each time; when the next report is due stands on flash. Its clock
# runs on, and is minutes off after half a day: woken too early, the agent learns the time from the platform
# and says how long to sleep on. How many starts have failed stands in the RTC's memory: without that, a
# device in a cellar would try every minute until its battery is empty.

import time

import machine
import muster
from muster import board

BUTTON = 0  # BOOT on most boards
SHORT_S = 5  # not worth another start
RETRY_S = 300  # after a start that failed, twice that after the next, and so on
LONGEST_S = 3600

rtc = machine.RTC()


def main():
    board.watchdog(120)  # whatever ends this program, a reset follows; the sleep ends the watchdog
    agent = muster.Agent()
    pause = agent.step()
    while pause <= SHORT_S:
        time.sleep(pause)
        pause = agent.step()
    failed = int(rtc.memory() or 0) + 1 if agent.status()["failures"] else 0
    rtc.memory(str(failed))
    pause = max(pause, min(failed * RETRY_S, LONGEST_S))
    print(f"sleeps for {pause} s")
    machine.deepsleep(1000 * pause)


if machine.Pin(BUTTON, machine.Pin.IN, machine.Pin.PULL_UP).value():
    main()
else:
    print("stays awake: the button is held")
