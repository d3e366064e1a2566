"""Enrol once, report on schedule, survive the rest."""

import time

from . import clock as system_clock
from . import const, log
from .errors import ConfigError, Error, TransportError, line
from .memory import borrow, call
from .net import wait
from .redact import Masked
from .schedule import Schedule

_BEIJING_S = const(28800)
_DAY_S = const(86400)


class Agent:
    """The device's side of the platform, from its first start to its last.

    config    as muster.config.check takes it; by default /config.json is loaded
    session   see muster.clouds; by default one with the configured roots is made for each step that
              needs the network. One that was handed in keeps its connections,
              which the program may use as well, but for step() and run(): there is nothing to
              send until the next report.
    store     where the credentials are kept, a store of muster.store by default: an object
              with load, save and erase. If it also has beside(name), the schedule gets a
              record of its own there, and a second save of the secret makes a second copy;
              else both stand in the same one.
    clock     an object with now, trusted and sync, by default muster.clock
    hardware  by default muster.board

    The attribute ready is asked before an update restarts the device: a function that returns whether it
    may be now, None for always. The attribute tell, if the program sets it, is called with each
    state of the set-up page (see muster.portal.home): the device says it aloud.

    Raises ConfigError. The methods that talk raise TransportError and CloudError, except step().
    """

    def __init__(self, config=None, session=None, store=None, clock=None, hardware=None):
        if hardware is None:
            from . import board as hardware
        self._hardware = hardware
        self._session = session
        self._clock = clock or system_clock
        # Only a verified answer can set it.
        verifies = session is None or getattr(session, "verifies", False)
        self._takes_dates = verifies and self._clock is system_clock
        self._watch = system_clock.Watch(self._clock)
        self._store = store
        self._credentials = None
        self._unsaved = False
        self._knows_time = False
        self._failures = 0
        self._unreached = 0
        self._has_joined = False
        self._last_error = None
        self._in_use = False
        self._used_day = None
        self._at_work = False
        self._untold = False  # the platform does not know the version that runs
        self._look = None  # when to look for an update, once a heartbeat was accepted
        self.setup = {}  # how the set-up page is, see muster.portal.home
        self._trusted = {}  # as muster.net.carrier.Carrier.roots
        call(self._begin, config)
        if hasattr(session, "idle"):
            session.idle = hardware.feed

    def enrol(self):
        """Returns the credentials: from flash when they are there, else by one secret fetch, then kept.

        A dict with deviceId, deviceNo, productId and deviceSecret, the last masked when printed.
        """
        if self._credentials is None or self._unsaved:
            self._run(self._by_hand("enrol"))
        return Masked(self._credentials.plain())

    def report(self):
        """Reports a heartbeat now, having enrolled if need be. Returns the answer's data."""
        return self._run(self._by_hand("report"))

    def step(self):
        """Does what is due now. Returns the seconds until something is due.

        Never raises for a fault of a cloud, the network or the flash: it logs it, and
        what failed is due again after a while.
        """
        return self._run(self._step(False))

    def run(self):
        """step() for ever, feeding the watchdog."""
        while True:
            pause = self.step()
            # A second at a time: Ctrl-C and used() are heard at once.
            time.sleep(min(pause, 1))

    async def task(self):
        """run() for asyncio programs; their loop turns while the network is waited for."""
        import asyncio

        from muster.net.aio import run_async

        from . import flow  # noqa: F401 - stays: what the program loads meanwhile shares its classes

        while True:
            pause = await run_async(self._alone(self._step(True)), self._hardware.feed)
            await asyncio.sleep(min(pause, 1))

    def used(self):
        """Says that the device is being used: with policy "daily" the first use of a Beijing day reports."""
        self._in_use = not self._knows_time  # what day it is remains to be seen
        now = self._clock.now()
        today = day(now)
        if self._config["policy"] != "daily" or self._in_use:
            return
        if today != self._used_day:
            self._schedule.due_at(now)
        self._used_day = today

    def set_up(self):
        """Opens the set-up page, as soon as run() or task() comes to it: a button's handler may call it."""
        if not self._config["setup"]:
            raise Error('"setup" is not configured')
        self.setup["asked"] = True

    def forget_networks(self):
        """Erases the Wi-Fi networks that the buyer gave, and leaves the one joined. Raises OSError."""
        if self._config["setup"]:
            from .portal.networks import erase

            erase()

    def look(self):
        """Looks for a release as soon as run() or task() comes to it, not at its own time.

        Raises Error for a product without "updates", and before a heartbeat was accepted since the start.
        """
        if self._look is None:
            raise Error('report() first, with "updates" configured')
        self._look = 0

    def status(self):
        """How the device is, for people: times are Unix seconds, None where nothing is known.

        On a board, what happened to it last is among it (see muster.last.read()), and of a product that is
        updated what muster.update.status() tells.
        """
        return call(_status, self)

    def _run(self, generator):
        return wait.run(self._alone(generator), self._hardware.feed)

    def _alone(self, generator):
        """Two exchanges at once could fetch two secrets."""
        if self._at_work:
            raise Error("the agent is at work already: leave it to task(), or wait for what was called")
        self._at_work = True
        try:
            return (yield from generator)
        finally:
            self._at_work = False

    def _by_hand(self, what):
        try:
            return (yield from self._work(what, True))
        except Exception as e:
            self._note(e)
            raise

    def _begin(self, config):
        """Takes the configuration and what flash holds: together, since both are JSON to be read."""
        from . import config as configuration

        config = configuration.load() if config is None else configuration.check(config)
        self._config = config
        if self._store is None and config["store"] == "nvs":
            from .nvs import NvsStore

            self._store = NvsStore("muster")  # kept, since a handle on the NVS is never given back
        self._device_no = config["deviceNo"]
        if self._device_no == "auto":
            self._device_no = self._hardware.serial_number()
            if not self._device_no:
                raise ConfigError('deviceNo is "auto", and this board has no MAC address: write the number')
        self._schedule = self._new_schedule()
        self._load()
        self._ask("start")

    def _load(self):
        """Takes up what flash holds, if it is this product's and this device's."""
        self._credentials, schedule = self._records().load()
        if schedule:
            self._schedule.restore(schedule)
            self._used_day = day(self._schedule.last)  # as far as is known
        if self._clock is system_clock:
            last = self._schedule.last or 0
            system_clock.set_floor(0 if schedule and schedule.get("guess") else last)
            system_clock.set_from_guess(last)

    def _records(self):
        from .store import Records

        return Records(self._identity(), self._store)

    def _identity(self):
        """What the secret is for: change one of these and it is fetched again."""
        return {
            "productId": self._config["productId"],
            "deviceNoType": self._config["deviceNoType"],
            "deviceNo": self._device_no,
        }

    def _step(self, keep):
        self._look_at_clock()
        now = self._clock.now()
        if self._knows_time and not self._schedule.plausible(now):
            self._schedule.first(now)
        if now >= self._schedule.wake or "asked" in self.setup:
            try:
                yield from self._work("due", keep)
                self._succeeded()
            # Whatever it is, a device in the field can only try again.
            except Exception as e:
                self._fail(e)
            self._look_at_clock()
        elif self._look is not None and now >= self._look:
            self._look = None  # with the next heartbeat, if this comes to nothing
            try:
                yield from self._work("check", keep)
            except Exception as e:
                log.warning("no update: " + line(str(e) or type(e).__name__))
        wake = self._schedule.wake
        if self._look is not None:
            wake = min(wake, self._look)
        self._hardware.feed()
        return max(0, wake - self._clock.now())

    def _work(self, what, keep):
        """Has heartbeat do it, whose code has left when the record of a report goes to flash."""
        reports = self._schedule.reports
        try:
            return (yield from borrow(_begun, self, what, keep))
        finally:
            if self._schedule.reports != reports:
                call(self._keep_schedule)
                self._untold = False
                look = call(self._ask, "after_success")
                if self._look != 0:  # what look() asked for is still to be done
                    self._look = look
                pause = self._schedule.next - self._schedule.last
                log.info("reported; the next report is due in " + duration(pause))

    def _ask(self, what):
        """What muster.update does in a product that is updated; never raises for what flash holds."""
        if self._config["updates"]:
            from . import update

            try:
                return getattr(update, what)(self)
            except Exception as e:
                log.warning("the update failed: %s" % e)

    def _keep_schedule(self):
        self._records().keep_schedule(self._schedule.state(), self._credentials)
        from .last import success

        success()

    def _succeeded(self):
        self._failures = self._unreached = self._schedule.failures = 0
        self._last_error = None

    def _fail(self, e):
        self._look_at_clock()
        self._note(e)
        now = self._clock.now()
        schedule = self._schedule
        asked = getattr(e, "retry_after", None) or 0
        due = self._knows_time and schedule.next is not None and schedule.next <= now
        wake = schedule.after_failure(now, asked, due, not self._hardware.connected())
        # A person has to act: whoever flashes the board reads this, and waits no longer.
        definite = "" if getattr(e, "retryable", True) else "put this right: "
        log.warning("%s%s; next try in %s" % (definite, self._last_error, duration(wake - now)))

    def _note(self, e):
        """Keeps what went wrong, for status() and for what is tried next."""
        self._failures += 1
        self._last_error = line(str(e) or type(e).__name__)
        if isinstance(e, TransportError):
            self._unreached += 1
            if self._clock is system_clock:
                # A certificate that does not fit may be a clock that lies.
                system_clock.distrust(hasattr(e, "starts"))

    def _look_at_clock(self):
        """Moves what is due along with a clock that was set."""
        # As long as nobody knows the time, the schedule is flash's, and right.
        self._schedule.shift(self._watch.jumped(), self._knows_time)

    def _new_schedule(self):
        config = self._config
        deadline, jitter = config["deadline"], config["jitter"]
        if config["policy"] == "daily":
            # Two first uses can lie 36 hours apart: two hours before the deadline it stops waiting.
            return Schedule(deadline - deadline // 12, min(jitter, deadline // 24), deadline, 0)
        return Schedule(config["period"], jitter, deadline, config["spread"])


def _begun(agent, what, keep):
    from . import heartbeat

    return heartbeat.online(agent, getattr(heartbeat, what), keep)


def _status(agent):
    from .status import status

    return status(agent)


def day(seconds):
    return None if seconds is None else (seconds + _BEIJING_S) // _DAY_S


def duration(seconds):
    if seconds < 120:
        return "%d s" % seconds
    minutes = (seconds + 30) // 60
    return "%d min" % minutes if minutes < 120 else "%d h %d min" % (minutes // 60, minutes % 60)
