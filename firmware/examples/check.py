# A line test of one board: `flash --check firmware/examples/check.py` runs it on each, before it enrols. Its
# last line is the verdict: PASS, or FAIL and what the worker should look at; more may stand behind PASS.
# Copy it, and try here what your board has: its light, microphone and loudspeaker.

import json
import os
import time

import machine
import network

FLASH_LEFT_KB = 256
LED = 2  # the pin of the light
BUTTON = 0  # the pin of the button, which connects it to ground
BLINKS = 3


def flash():
    """Whether the file system keeps what is written, and has room for updates."""
    block, _, _, free = os.statvfs("/")[:4]
    if block * free < FLASH_LEFT_KB * 1024:
        return f"only {block * free // 1024} KB of flash are left"
    written = os.urandom(512)
    with open("/check.tmp", "wb") as f:
        f.write(written)
    with open("/check.tmp", "rb") as f:
        read = f.read()
    os.remove("/check.tmp")
    return None if read == written else "the flash does not keep what is written to it"


def radio():
    """Whether the antenna hears one of the networks of config.json, which one at the line must have."""
    with open("/config.json") as f:
        wanted = [known["ssid"] for known in json.load(f).get("wifi", [])]
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    heard = {found[0].decode(): found[3] for found in wlan.scan()}
    wlan.active(False)
    if wanted and not any(ssid in heard for ssid in wanted):
        return "it hears none of {}: is its antenna connected?".format(", ".join(wanted))


def light():
    """The worker looks at it."""
    led = machine.Pin(LED, machine.Pin.OUT)
    for _ in range(2 * BLINKS):
        led.value(not led.value())
        time.sleep_ms(100)


def button():
    """Whether it is open; held down, it would open the set-up page for ever."""
    if machine.Pin(BUTTON, machine.Pin.IN, machine.Pin.PULL_UP).value() == 0:
        return "the button is stuck"


for part in (flash, radio, light, button):
    print(part.__name__)
    wrong = part()
    if wrong:
        print("FAIL", wrong)
        break
else:
    print("PASS")
