"""Puts a staged build in its place, and puts the one before back: whole, whenever the power goes.

A copy of this file lies in /update, and STUB, renamed onto /boot.py, runs it at each start: it uses
nothing of the library, which may be broken or half new.

The first line of the plan is the number of the build on trial, or 0 for files that came by cable and are
wanted as they are. A line for each file follows: "moved" over an old one, "added" where none was,
"removed" or "boot"; its size, its name in /update, its path.
"""

import os

STUB = """\
# muster: a build on trial
import sys
sys.path.insert(0, "/update")
try:
    import trial
except ImportError:
    from muster import trial
sys.path.pop(0)
trial.start()
"""

root = ""  # a test has its board in a folder

_CRASHES = 3
_POWER_ONS = 30  # a buyer plays with the switch
_TICKS = 36  # six hours
_TICK_MS = 600000
_WATCHDOG_MS = 120000


def there(path):
    try:
        os.stat(root + path)
        return True
    except OSError:
        return False


def move(old, new):
    os.rename(root + old, root + new)


def remove(path):
    try:
        os.remove(root + path)
    except OSError:
        pass  # it is not there


def settle():
    """Has littlefs finish what a power cut left half done: a neighbour of what was moved may be hidden."""
    try:
        move("/update/nothing", "/update/nothing")
    except OSError:
        pass


def read(path, most=-1):
    try:
        with open(root + path) as f:
            return f.read(most)
    except OSError:
        return ""


def note(path, text):
    with open(root + path, "a") as f:
        f.write(text)


def on_trial():
    """Whether the build that runs is on trial."""
    return read("/boot.py", 26) == STUB[:26]


def plan(name="plan"):
    """Yields (how, size, staged, path)."""
    try:
        with open(root + "/update/" + name) as f:
            f.readline()
            for line in f:
                how, size, staged, path = line[:-1].split(" ", 3)
                yield how, int(size), "/update/" + staged, path
    except OSError:
        pass


def advance():
    """Moves what is still staged to its place; the old file stays beside it."""
    for how, _, staged, path in plan():
        if how == "removed" or there(staged):
            if how != "added" and there(path):
                move(path, path + ".old~")
            if how != "removed":
                move(staged, path)


def confirm():
    """Ends a trial: the new build stays. Its boot.py comes last: until then this is gone on with."""
    settle()
    os.stat(root + "/update/boot.new")  # without it, the next start goes back
    for _, _, _, path in plan():
        remove(path + ".old~")
    move("/update/boot.new", "/boot.py")
    tidy()


def back(why):
    """Puts the old build back, and leaves it why in /update/back. Not if an old file or the plan is gone."""
    if not (there("/update/plan") and there("/update/boot.old")):
        return False
    if not there("/update/back"):
        for how, _, staged, path in plan():
            if how == "moved" and not there(staged) and not there(path + ".old~"):
                return False
        note("/update/back", why)
    for how, _, staged, path in plan():
        if how == "added" and not there(staged):
            remove(path)
        elif there(path + ".old~"):
            move(path + ".old~", path)
    move("/update/boot.old", "/boot.py")
    return True


def tidy():
    """Clears up after a plan that has ended; the plan itself goes last."""
    settle()
    for name in os.listdir(root + "/update"):
        if name != "plan":
            remove("/update/" + name)
    remove("/update/plan")


def verdict():
    """Why the build has failed: "crashed", or "was not heard" when it may be the network's fault; else ""."""
    starts = read("/update/starts")
    if starts.count("c") >= _CRASHES or not there("/update/boot.new"):
        return "crashed"
    if starts.count("p") >= _POWER_ONS or starts.count("t") >= _TICKS:
        return "was not heard"
    return ""


def heard():
    """The build has had a heartbeat accepted: what was counted so far is forgotten."""
    if read("/update/starts") != "0":
        remove("/update/starts")
        note("/update/starts", "0")


def start():
    """A start during a trial, in place of boot.py."""
    import machine

    settle()
    if read("/update/plan")[:2] == "0\n":
        finish()
        return run("/boot.py")
    machine.WDT(timeout=_WATCHDOG_MS)
    _count(machine)
    why = verdict()
    if why and back(why):
        machine.reset()
    advance()
    for timer in (3, 1):  # some chips have two
        try:
            machine.Timer(timer, period=_TICK_MS, callback=tick)
            break
        except Exception:
            pass
    run("/update/boot.new")


def finish():
    """Has files that came by cable in their places at once."""
    settle()
    advance()
    confirm()


def run(path):
    exec(read(path), {"__name__": "__main__", "TRIAL": True})


def _count(machine):
    if not there("/update/starts"):
        note("/update/starts", "0")  # the first: the reset was that of the commit
        return
    cause = machine.reset_cause()
    if cause in (machine.PWRON_RESET, machine.DEEPSLEEP_RESET):
        note("/update/starts", "p")
    elif cause != machine.SOFT_RESET:
        note("/update/starts", "c")


def tick(timer):
    """Ten minutes have passed; they count when a network was there."""
    import machine

    if not there("/update/plan"):
        timer.deinit()
        return
    try:
        import network

        station = network.WLAN(network.STA_IF)
        if station.active() and not station.isconnected():
            return
    except Exception:
        pass  # a board without Wi-Fi
    note("/update/starts", "t")
    if verdict():
        machine.reset()
