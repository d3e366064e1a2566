# An ESP32's watchdog cannot be stopped, and outlives a soft reset: it gets hours, as main.py gives it at its
# prompt. Only a reset ends it, so a board that has had none has one until then.
try:
    from machine import WDT

    WDT(timeout=6 * 3600 * 1000)
except (ImportError, ValueError):
    pass
