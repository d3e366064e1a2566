# Runs first on the board: tells the clock what has certainly passed, and joins the network. It is
# short, since mpremote waits for its end: it tries the two networks that are preferred. What it does
# not achieve, the agent does. It never raises: after an exception MicroPython would not run main.py.

WAIT_MS = 6000


def start():
    import gc

    # What an import leaves behind would lie between what stays: collected early, it leaves no holes.
    gc.threshold((gc.mem_free() + gc.mem_alloc()) // 8)

    from muster import clock, config, hardware, log, wait

    clock.at_least_as_late_as("/config.json")
    log.level = log.WARNING + 1  # the agent says it all
    try:
        settings = config.load()
        networks = settings["wifi"][:2]
        if networks and not hardware.connected():
            wait.run(hardware.join(networks, settings["hostname"], WAIT_MS // len(networks)))
    finally:
        log.level = log.INFO


try:
    start()
except Exception as e:
    print("muster: boot.py:", e)
