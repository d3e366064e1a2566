"""The resets of an ESP32: their causes, what each clears, and what the chip prints first.

Source: ports/esp32/modmachine.c of MicroPython. HARD_RESET is machine.reset() and a panic alike; a brownout
is PWRON_RESET. What it has no name for, such as a reset by the chip's own USB, is 0; that never happens here.
"""

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5

# The files of a board's folder that each reset clears, besides those that go with the power.
LOST = {
    PWRON_RESET: ("wifi", "ap.json", "wdt", "exit"),
    HARD_RESET: ("wifi", "ap.json", "wdt", "exit"),
    WDT_RESET: ("wifi", "ap.json", "wdt", "exit"),
    DEEPSLEEP_RESET: ("wifi", "ap.json", "wdt", "exit"),
    SOFT_RESET: ("exit",),
}
LOST_WITH_THE_POWER = ("time", "rtc", "on_line")

WDT_MESSAGE = (
    b"\r\nE task_wdt: Task watchdog got triggered. "
    b"The following tasks/users did not reset the watchdog in time:\r\nE task_wdt:  - mpy_machine_wdt\r\n"
)

PANIC_MESSAGE = b"\r\nGuru Meditation Error: Core  1 panic'ed (LoadProhibited). Exception was unhandled.\r\n"

# What the chip's ROM prints first.
ROM_MESSAGE = {
    PWRON_RESET: b"rst:0x1 (POWERON_RESET)\r\n",
    HARD_RESET: b"\r\nrst:0xc (SW_CPU_RESET)\r\n",
    WDT_RESET: b"\r\nrst:0xc (SW_CPU_RESET)\r\n",
    DEEPSLEEP_RESET: b"\r\nrst:0x5 (DEEPSLEEP_RESET)\r\n",
    SOFT_RESET: b"MPY: soft reboot\r\n",
}

NO_FIRMWARE_MESSAGE = b"invalid header: 0xffffffff\r\nwaiting for download\r\n"
