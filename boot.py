# Runs first on the board: tells the clock what has certainly passed, and joins the network. It is
# short, since mpremote waits for its end: it tries the two networks that are preferred. What it does
# not achieve, the agent does. It never raises: after an exception MicroPython would not run main.py.

WAIT_MS = 6000


def start():
    import gc

    # What an import leaves behind would lie between what stays: collected early, it leaves no holes.
    gc.threshold((gc.mem_free() + gc.mem_alloc()) // 8)

    import json

    from muster import board, clock, log
    from muster.net import wait

    clock.set_from_file("/config.json")
    try:
        with open("/config.json") as f:
            settings = json.load(f)
    except (OSError, ValueError):
        return  # the agent says what is wrong with it
    networks = settings.get("wifi", [])[:2]
    radio = {name: settings[name] for name in ("pm", "txpower") if name in settings}
    log.level = log.WARNING + 1  # the agent says it all
    try:
        if networks and not board.connected():
            hostname = settings.get("hostname", "")
            wait.run(board.join(networks, hostname, WAIT_MS // len(networks), **radio))
    finally:
        log.level = log.INFO


try:
    start()
except Exception as e:
    print("muster: boot.py:", e)
