# A product on Ethernet: the agent reports over the cable, from the address that a router gives.
#
# Needs an ESP32 with a LAN8720 on the pins below (other chips take a W5500 on SPI, see network.LAN), and no
# "wifi" in config.json. Shows how a program brings a network of its own: it starts it, and tells the agent
# of it in board.lan.

import time

import muster
import network
from machine import Pin
from muster import board

MDC, MDIO = 23, 18
PHY = {"phy_type": network.PHY_LAN8720, "phy_addr": 1}
ADDRESS_S = 15


def start():
    """Starts the interface, and gives the router a moment to answer: else the first try is in vain."""
    lan = board.lan = network.LAN(mdc=Pin(MDC), mdio=Pin(MDIO), **PHY)
    lan.active(True)
    for _ in range(10 * ADDRESS_S):
        if board.addresses():
            break
        time.sleep_ms(100)


board.watchdog(120)  # whatever ends this program, a reset follows
start()
muster.Agent().run()
