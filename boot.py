# Runs first: counts crashes, sets the clock to what has certainly passed, and joins one of the two networks
# that are preferred, in a few seconds, since mpremote waits for its end. The agent does what is left. It
# raises for a Ctrl-C, and where the library cannot be used: then MicroPython does not run main.py.
#
# A program that runs this file with a global TRIAL has a new build on trial, a watchdog, and a way back.

WAIT_MS = 6000
CRASHES = 3  # so many since a heartbeat was accepted, and main.py has to wait
AGAIN_MS = 3600000


def start(trial):
    import gc

    # What an import leaves behind would lie between what stays: collected early, it leaves no holes.
    gc.threshold((gc.mem_free() + gc.mem_alloc()) // 8)

    import json

    from muster import board, clock, log, memory
    from muster.net import wait

    def count():
        from muster import last

        crashes = last.start()
        if trial:
            last.success()  # what comes of a trial is no fault of the build before
        return crashes

    def given():
        from muster.portal.networks import load

        return load()

    crashes = memory.call(count)
    clock.set_from_file("/config.json")
    try:
        with open("/config.json") as f:
            settings = json.load(f)
    except (OSError, ValueError):
        settings = {}  # the agent says what is wrong with it
    try:
        networks = settings.get("wifi", [])
        if settings.get("setup"):
            networks = memory.call(given) + networks
        networks = networks[:2]
        radio = {name: settings[name] for name in ("pm", "txpower") if name in settings}
        log.level = log.WARNING + 1  # the agent says it all
        if networks and not board.connected():
            hostname = settings.get("hostname", "")
            wait.run(board.join(networks, hostname, WAIT_MS // len(networks), **radio))
    except Exception as e:
        print("muster: boot.py:", e)
    finally:
        log.level = log.INFO
    if crashes >= CRASHES and not trial:
        from muster import safe

        safe.run()


try:
    start("TRIAL" in globals())
except Exception as e:
    if "TRIAL" not in globals():
        import machine

        machine.WDT(timeout=AGAIN_MS)
    print("muster: this board cannot start:", type(e).__name__, e)
    print("muster: deploy to it again; without that it tries once more in an hour")
    raise
del start
