"""The resets of an ESP32: their causes, what each clears, and what the chip prints first."""

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5

# The files of a board's folder that each reset clears, besides those that go with the power.
LOST = {
    PWRON_RESET: ("wifi", "wdt", "exit"),
    HARD_RESET: ("wifi", "wdt", "exit"),
    WDT_RESET: ("wifi", "wdt", "exit"),
    DEEPSLEEP_RESET: ("wifi", "wdt", "exit"),
    SOFT_RESET: ("exit",),
}
LOST_WITH_THE_POWER = ("time", "rtc")

WDT_MESSAGE = (
    b"\r\nE task_wdt: Task watchdog got triggered. "
    b"The following tasks/users did not reset the watchdog in time:\r\nE task_wdt:  - mpy_machine_wdt\r\n"
)

# What the chip's ROM prints first.
ROM_MESSAGE = {
    PWRON_RESET: b"rst:0x1 (POWERON_RESET)\r\n",
    HARD_RESET: b"\r\nrst:0xc (SW_CPU_RESET)\r\n",
    WDT_RESET: b"\r\nrst:0xc (SW_CPU_RESET)\r\n",
    DEEPSLEEP_RESET: b"\r\nrst:0x5 (DEEPSLEEP_RESET)\r\n",
    SOFT_RESET: b"MPY: soft reboot\r\n",
}

NO_FIRMWARE_MESSAGE = b"invalid header: 0xffffffff\r\nwaiting for download\r\n"
