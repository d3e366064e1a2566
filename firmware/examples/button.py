# A device with a button, for a product with "setup" in its configuration. Held for five seconds, the button
# opens the set-up page, so that the buyer can give the device another Wi-Fi; a press says that the device is
# being used. What becomes of the page is said aloud. Copy it to the board as main.py; the one that it
# replaces shows the watchdog that a product has.

import time

import muster
from machine import Pin, Timer

BUTTON = 0  # the pin, which the button connects to ground: BOOT on most boards
LOOK_MS = 50  # longer than contacts bounce
HOLD_MS = 5000

SAID = {
    "open": "请用手机扫描标签上的二维码，帮我连接 Wi-Fi。",
    "trying": "正在连接。",
    "reached": "连上了，谢谢！",
    "unreached": "Wi-Fi 连上了，但是上不了网，请检查路由器。",
    "refused": "密码好像不对，请再试一次。",
    "absent": "找不到这个 Wi-Fi，请离路由器近一点。",
    "silent": "路由器没有回答，请重启路由器。",
    "failed": "没有连上，请再试一次。",
}


def announce(state):
    """Says how the set-up page is: the loudspeaker goes here."""
    if state in SAID:
        print(SAID[state])


class Button:
    """A timer looks at it, in the midst of the agent's work: that is only told what to do."""

    def __init__(self, agent):
        self._agent = agent
        self._pin = Pin(BUTTON, Pin.IN, Pin.PULL_UP)
        self._since = None  # when it was pressed
        self._held = False
        Timer(0).init(period=LOOK_MS, callback=self._look)

    def _look(self, timer):
        now = time.ticks_ms()
        if self._pin.value():
            self._since = None
            self._held = False
        elif self._since is None:
            self._since = now
            self._agent.used()
        elif not self._held and time.ticks_diff(now, self._since) >= HOLD_MS:
            self._held = True
            self._agent.set_up()


agent = muster.Agent()
agent.tell = announce
button = Button(agent)
agent.run()
