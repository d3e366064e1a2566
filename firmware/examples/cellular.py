# A 4G product: a modem on a UART, PPP over it, and the modem's own IMEI in each heartbeat.
#
# Needs a modem that takes AT commands on the pins below, switched on already, and its card's APN. In
# config.json "cellular": true, "imei": "" (the modem knows it), "netType": "4G", and no "wifi". Shows how a
# program brings a network of its own, in board.lan, and looks after it: a link that is lost is dialled
# anew, and so is one that only looks alive.

import json
import time

import muster
import network
from machine import UART
from muster import board

TX, RX = 17, 18
APN = "cmiot"
DIAL_S = 30
FAILURES = 3  # of the agent in a row, and the link is not believed


class Modem:
    def __init__(self):
        self._uart = UART(1, 115200, tx=TX, rx=RX, rxbuf=2048, timeout=1000)
        self.ppp = network.PPP(self._uart)

    def ask(self, command, wait_s=5):
        """Returns the lines of the answer. Raises OSError if the modem refuses, or does not answer."""
        self._uart.read()  # what it said unasked
        self._uart.write(command + "\r")
        lines = []
        end = time.ticks_add(time.ticks_ms(), 1000 * wait_s)
        while time.ticks_diff(end, time.ticks_ms()) > 0:
            line = (self._uart.readline() or b"").strip()
            if line == b"OK" or line.startswith(b"CONNECT"):
                return lines
            if b"ERROR" in line or line.startswith(b"NO "):
                break
            lines.append(line)
        raise OSError("the modem does not take " + command)

    def imei(self):
        for line in self.ask("AT+CGSN"):
            if line.isdigit():
                return line.decode()
        raise OSError("the modem does not tell its IMEI")

    def dial(self):
        self.ask(f'AT+CGDCONT=1,"IP","{APN}"')
        self.ask("ATD*99#", DIAL_S)
        self.ppp.connect()
        for _ in range(10 * DIAL_S):
            if self.ppp.isconnected():
                return
            time.sleep_ms(100)
        raise OSError("the network answers no PPP")

    def hang_up(self):
        """Back to commands from wherever it is: a reset of the chip leaves it on line."""
        self.ppp.disconnect()
        time.sleep_ms(1100)
        self._uart.write("+++")
        time.sleep_ms(1100)
        self._uart.write("ATE0H\r")
        time.sleep_ms(500)


def start(modem):
    """Returns the agent, once the modem has told its number."""
    while True:
        modem.hang_up()
        try:
            with open("/config.json") as f:
                config = json.load(f)
            config["imei"] = modem.imei()
            return muster.Agent(config)
        except OSError as e:
            print(e)
        board.feed()


def look_after(modem, agent):
    failures = 0
    while True:
        if not modem.ppp.isconnected():
            try:
                modem.dial()
            except OSError as e:
                print(e)
                modem.hang_up()
        pause = agent.step()
        before, failures = failures, agent.status()["failures"]
        if failures > before and failures % FAILURES == 0:
            modem.hang_up()
        for _ in range(max(1, min(pause, 60))):
            time.sleep(1)
            board.feed()


board.watchdog(300)  # whatever ends this program, a reset follows
modem = Modem()
board.lan = modem.ppp
look_after(modem, start(modem))
