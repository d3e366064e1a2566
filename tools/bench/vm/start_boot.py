# Before the boot.py that ships.
import time

boot_began = time.ticks_us()
