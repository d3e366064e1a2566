# ruff: noqa: F821
# Freezes muster into a MicroPython build of your own: it then runs from flash and takes next to no RAM.
#
#     cd micropython/ports/esp32
#     make BOARD=ESP32_GENERIC_S3 FROZEN_MANIFEST=/path/to/muster/firmware/manifest.py
#
# boot.py, main.py, config.json and the roots stay in the file system, where they can be changed. Frozen
# modules come before /lib: a new muster then needs new firmware. A board with a manifest of its own
# wants that included in place of the port's: include("$(BOARD_DIR)/manifest.py").
#
# Source: MicroPython's documentation, reference/manifest.html.

include("$(PORT_DIR)/boards/manifest.py")
package("muster", base_path="../lib")
