# Runs first on the board: tells the clock what has certainly passed, and joins the network. It is
# short, since mpremote waits for its end; what it does not achieve, the agent does.
# It never raises: after an exception here MicroPython would not run main.py.

WAIT_MS = 6000

try:
    from muster import clock, config, hardware, wait

    clock.at_least_as_late_as("/config.json")
    settings = config.load()
    networks = settings["wifi"][:2]
    if networks and not hardware.connected():
        wait.run(hardware.join(networks, settings["hostname"], WAIT_MS // len(networks)))
except Exception as e:
    print("muster: boot.py:", e)
