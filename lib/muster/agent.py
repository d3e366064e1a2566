"""Enrol once, report on schedule, survive the rest."""

import binascii
import time

from . import clock as system_clock
from . import log, wait
from .clouds import chinamobile
from .errors import ConfigError, Error, TransportError, line
from .masked import Masked
from .memory import unload
from .schedule import Schedule

try:
    from micropython import const
except ImportError:
    const = int

_BEIJING_S = const(28800)
_DAY_S = const(86400)
_JUMP_MS = const(2000)  # less than this is rounding, not somebody setting the clock
_TICKS = 1 << 30  # what an ESP32's ticks_ms() wraps at, after 12.4 days
_REJOIN_AFTER = const(3)  # failures to reach anything, and a Wi-Fi that says it is connected is not believed
_NETWORK_S = const(300)  # no longer between attempts to join a network: that is a load on no server
_MAX_ANSWER = const(4096)
STATE = "/state/credentials"  # not in /muster: that would hide the library of this name


class Agent:
    """The device's side of the platform, from its first start to its last.

    config    as muster.config.check takes it; by default /config.json is loaded
    session   see muster.clouds; by default muster.http with the configured roots
    store     where the credentials are kept, a store of muster.store by default: an object
              with load, save and erase. If it also has beside(name), the schedule gets a
              record of its own there, and a second save of the secret makes a second copy;
              else both stand in the same one.
    clock     an object with now, trusted and sync, by default muster.clock
    hardware  by default muster.hardware

    Raises ConfigError. The methods that talk raise TransportError and CloudError, except step().
    """

    def __init__(self, config=None, session=None, store=None, clock=None, hardware=None):
        config = _checked(config)
        if hardware is None:
            from . import hardware
        if session is None:
            from .http import Session

            session = Session(config["roots"], max_body=_MAX_ANSWER)
        if store is None:
            from . import store as stores

            store = stores.NvsStore("muster") if config["store"] == "nvs" else stores.FileStore(STATE)
        self._config = config
        self._hardware = hardware
        self._session = session
        self._clock = clock or system_clock
        self._ticks = getattr(self._clock, "ticks_ms", None)
        self._store = store
        self._schedule_store = store.beside("schedule") if hasattr(store, "beside") else None
        self._cloud = chinamobile.ChinaMobile(
            config["productId"], config["productKey"], session, config["baseUrl"]
        )
        self._device_no = config["deviceNo"]
        if self._device_no == "auto":
            self._device_no = hardware.serial_number()
            if not self._device_no:
                raise ConfigError('deviceNo is "auto", and this board has no MAC address: write the number')
        self._schedule = self._new_schedule()
        self._credentials = None
        self._unsaved = False
        self._wake = 0  # Unix time before which nothing is to be done
        self._knows_time = False
        self._seen = None  # (Unix time, ticks) when the clock was last looked at
        self._sets = 0  # how often muster.clock had set it by then
        self._failures = 0
        self._unreached = 0
        self._last_error = None
        self._in_use = False
        self._used_day = None
        self._at_work = False
        if hasattr(session, "idle"):
            session.idle = hardware.feed
        self._load()

    def enrol(self):
        """Returns the credentials: from flash when they are there, else by one secret fetch, then kept.

        A dict with deviceId, deviceNo, productId and deviceSecret, the last masked when printed.
        """
        return self._run(self._by_hand(self._enrol()))

    def report(self):
        """Reports a heartbeat now, having enrolled if need be. Returns the answer's data."""
        return self._run(self._by_hand(self._report()))

    def step(self):
        """Does what is due now. Returns the seconds until something is due.

        Never raises for a fault of a cloud, the network or the flash: it logs it, and
        what failed is due again after a while.
        """
        return self._run(self._step())

    def run(self):
        """step() for ever, feeding the watchdog."""
        while True:
            pause = self.step()
            self._hardware.feed()
            # A second at a time: Ctrl-C and used() are heard at once.
            time.sleep(min(pause, 1))

    async def task(self):
        """run() for asyncio programs; their loop turns while the network is waited for."""
        import asyncio

        while True:
            pause = await wait.run_async(self._alone(self._step()), self._hardware.feed)
            self._hardware.feed()  # a step with nothing to wait for has not
            await asyncio.sleep(min(pause, 1))

    def used(self):
        """Says that the device is being used: with policy "daily" the first use of a Beijing day reports."""
        self._in_use = not self._knows_time  # what day it is remains to be seen
        now = self._clock.now()
        today = _day(now)
        if self._config["policy"] != "daily" or self._in_use:
            return
        if today != self._used_day:
            self._schedule.next = self._wake = now
        self._used_day = today

    def status(self):
        """How the device is, for people: times are Unix seconds, None where nothing is known."""
        return {
            "enrolled": self._credentials is not None,
            "device_no": self._device_no,
            "device_id": self._credentials["deviceId"] if self._credentials else None,
            "reports": self._schedule.reports,
            "last_report": self._schedule.last,
            "next_due": self._schedule.next,
            "failures": self._failures,
            "last_error": self._last_error,
            "clock_trusted": self._clock.trusted(),
        }

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

    def _by_hand(self, generator):
        try:
            return (yield from generator)
        except Exception as e:
            self._note(e)
            raise

    def _load(self):
        """Takes up what flash holds, if it is this product's and this device's."""
        record = self._store.load() or {}
        guess = None
        whole = record.get("deviceId") and record.get("deviceSecret")
        if whole and all(record.get(key) == value for key, value in self._identity().items()):
            schedule = self._schedule_store.load() if self._schedule_store else record.get("schedule")
            self._credentials = Masked({key: record[key] for key in record if key != "schedule"})
            self._keep_twice()
            # Another device's schedule must not hold up this one's first report.
            if schedule and schedule.get("of") == self._mark():
                self._schedule.restore(schedule)
                self._used_day = _day(self._schedule.last)  # as far as is known
                guess = schedule.get("guess")
        if self._clock is system_clock:
            last = self._schedule.last or 0
            system_clock.at_least(0 if guess else last)
            system_clock.guess(last)

    def _identity(self):
        """What the secret is for: change one of these and it is fetched again."""
        return {
            "productId": self._config["productId"],
            "deviceNoType": self._config["deviceNoType"],
            "deviceNo": self._device_no,
        }

    def _mark(self):
        """The identity in few bytes, for the small record."""
        return binascii.crc32("\n".join(sorted(self._identity().values())).encode())

    def _step(self):
        jump = self._look_at_clock()
        if jump and self._clock is system_clock and system_clock.trusted():
            # A certificate may seem to have expired by it.
            system_clock.move(-jump)
            self._look_at_clock()
        now = self._clock.now()
        if self._knows_time and not self._schedule.plausible(now):
            self._wake = self._schedule.first(now)
        if now >= self._wake:
            try:
                yield from self._work()
                self._succeeded()
            # Whatever it is, a device in the field can only try again.
            except Exception as e:
                self._fail(e)
            self._look_at_clock()
        return max(0, self._wake - self._clock.now())

    def _work(self):
        """Reports, if that is due by a clock that is worth asking."""
        yield from self._join()
        try:
            if not self._clock.trusted():
                yield from self._sync()
            if self._knows_time:
                self._look_at_clock()
            else:
                yield from self._learn_time()
            now = self._clock.now()
            # Without the time nobody knows how long it was off: early is better than after 24 hours.
            if not self._knows_time or now >= self._schedule.next:
                yield from self._report()
            else:
                log.info("the next report is due in " + _duration(self._schedule.next - now))
        finally:
            # TLS holds tens of kilobytes, and the next report is half a day away.
            if hasattr(self._session, "close"):
                self._session.close()
        self._wake = self._schedule.next

    def _succeeded(self):
        self._failures = self._unreached = self._schedule.failures = 0
        self._last_error = None

    def _join(self):
        networks = self._config["wifi"]
        stale = self._unreached >= _REJOIN_AFTER and self._hardware.net_type() == "wifi"
        if stale:
            self._unreached = 0
        if networks and (stale or not self._hardware.connected()):
            joined = yield from self._hardware.join(networks, self._config["hostname"], anew=stale)
            if joined is None:
                names = ", ".join(network["ssid"] for network in networks)
                raise TransportError("none of the Wi-Fi networks (%s) could be joined" % names)
            log.info("joined " + joined)

    def _sync(self):
        if self._clock is system_clock:
            yield from system_clock.synchronise(self._config["ntp"])
            return
        try:
            self._clock.sync()
        except Exception as e:
            log.warning("the clock could not be set: %s" % e)

    def _learn_time(self):
        """After a start: T_next on flash says something only to a clock that knows the time.

        Without NTP the clock stands at its floor. A first report tells it the time; else
        the platform is asked for nothing but its Date, since a report may not be due.
        """
        if not self._clock.trusted() and self._schedule.last is not None and self._takes_dates():
            try:
                response = yield from self._exchange("HEAD", self._config["baseUrl"] + "/", None, {})
                response.close()
            except TransportError as e:
                if self._failures < _REJOIN_AFTER:
                    raise
                log.info("the platform does not tell the time (%s)" % e)
        if self._clock.trusted():
            self._schedule.first(self._clock.now())
            self._knows_time = True
            self._seen = None  # the clock was set, and what is on flash was already right
            if self._in_use:
                self.used()

    def _enrol(self):
        if self._credentials is None:
            request = self._cloud.secret_info_request(self._device_no, self._config["deviceNoType"])
            response = yield from self._exchange(*request)
            credentials = self._cloud.secret_info_answer(response, self._device_no)
            credentials.update(self._identity())
            self._unsaved = True
            self._credentials = credentials
            self._schedule = self._new_schedule()
            self._schedule.first(self._clock.now())
            self._succeeded()
        if self._unsaved:
            # If not now: the secret lives on in memory, and every report tries the flash again.
            self._unsaved = not _kept("secret", self._store, self._credentials.plain())
            if not self._unsaved:
                self._keep_twice()
                # Not before it is on flash: whoever reads this may pull the plug.
                log.info("enrolled as " + self._credentials["deviceId"])
        return Masked(self._credentials.plain())

    def _keep_twice(self):
        """Has the secret in both slots of a store of muster.store: the loss of one then costs nothing."""
        if self._schedule_store:
            _kept("second copy of the secret", self._store, self._credentials.plain())

    def _report(self):
        credentials = yield from self._enrol()
        config, hardware = self._config, self._hardware
        heartbeat = chinamobile.params(
            innerIp=hardware.addresses(),
            netType=config["netType"] or hardware.net_type(),
            platform=config["platform"],
            sdkVersion=config["sdkVersion"],
            firmwareVersion=config["firmwareVersion"],
            imei=config["imei"],
            cmei=config["cmei"],
            mac=hardware.mac(),
        )
        known = credentials["deviceId"], credentials["deviceSecret"]
        request = self._cloud.report_request(*known, heartbeat)
        response = yield from self._exchange(*request)
        data = self._cloud.report_answer(response, *known)
        now = self._clock.now()
        self._wake = self._schedule.after_success(now)
        self._knows_time = True
        self._seen = None
        if self._in_use or self._used_day is None or self._used_day > _day(now):
            # That was the first use of a day not known until now, or known by a clock that was wrong.
            self._in_use, self._used_day = False, _day(now)
        self._succeeded()
        self._save_schedule()
        log.info("reported; the next report is due in " + _duration(self._wake - now))
        return data

    def _save_schedule(self):
        state = dict(self._schedule.state(), of=self._mark())
        if not system_clock.vouched():
            state["guess"] = 1  # as a floor, a lie of NTP's would outlast it
        if self._schedule_store:
            _kept("schedule", self._schedule_store, state)
        else:
            _kept("schedule", self._store, dict(self._credentials.plain(), schedule=state))

    def _exchange(self, method, url, body, headers):
        """One request over whatever session there is; a verified answer also tells the time."""
        if not hasattr(self._session, "exchange"):
            return self._session.request(method, url, data=body, headers=headers)
        response = yield from self._session.exchange(method, url, data=body, headers=headers, repeatable=True)
        if self._takes_dates():
            system_clock.refine(response.headers.get("date"), response.not_after)
        return response

    def _takes_dates(self):
        """Whether an answer's Date can set the clock: only one that a verified server gave."""
        verified = hasattr(self._session, "exchange") and self._config["baseUrl"].startswith("https:")
        return verified and self._clock is system_clock

    def _fail(self, e):
        self._look_at_clock()
        self._note(e)
        now = self._clock.now()
        asked = getattr(e, "retry_after", None) or 0
        due = self._schedule.next
        if self._knows_time and due is not None and due <= now:
            self._wake = self._schedule.after_failure(now, asked)
        else:
            self._wake = now + self._schedule.backoff(asked)
        if not self._hardware.connected():
            # The report itself waits as long as it would have: homes whose power is back are no herd.
            self._wake = min(self._wake, now + _NETWORK_S)
        # A person has to act: whoever flashes the board reads this, and waits no longer.
        definite = "" if getattr(e, "retryable", True) else "put this right: "
        log.warning("%s%s; next try in %s" % (definite, self._last_error, _duration(self._wake - now)))

    def _note(self, e):
        """Keeps what went wrong, for status() and for what is tried next."""
        self._failures += 1
        self._last_error = line(str(e) or type(e).__name__)
        if isinstance(e, TransportError):
            self._unreached += 1
            if self._clock is system_clock:
                # A certificate that does not fit may be a clock that lies.
                system_clock.doubt(hasattr(e, "starts"))

    def _look_at_clock(self):
        """Notices a clock that was set, by what the ticks say has passed, and moves what is due along.

        Returns by how many seconds it was set, if somebody else than muster.clock set it.
        """
        if not self._ticks:
            return 0
        sets, self._sets = self._sets, system_clock.sets
        jump = 0
        now, ticks = self._clock.now(), self._ticks()
        if self._seen:
            seen, then = self._seen
            passed = system_clock.ticks_diff(ticks, then)
            jump = now - seen - passed // 1000
            # A program may have called nothing while the ticks wrapped.
            if (1000 * jump + _JUMP_MS) % _TICKS <= 2 * _JUMP_MS:
                jump = 0
            else:
                if self._knows_time:  # until then the schedule is flash's, and right
                    self._schedule.shift(jump)
                self._wake += jump
            # Anchored anew each time, since ticks wrap after days; the odd milliseconds stay.
            ticks = system_clock.ticks_add(ticks, -(passed % 1000))
        self._seen = now, ticks
        return jump if sets == self._sets else 0

    def _new_schedule(self):
        config = self._config
        deadline, jitter = config["deadline"], config["jitter"]
        if config["policy"] == "daily":
            # Two first uses can lie 36 hours apart: two hours before the deadline it stops waiting.
            return Schedule(deadline - deadline // 12, min(jitter, deadline // 24), deadline, 0)
        return Schedule(config["period"], jitter, deadline, config["spread"])


def _checked(config):
    """The configuration; on a board what checks it, a seventh of the library, leaves the memory again."""
    from . import config as configuration

    config = configuration.load() if config is None else configuration.check(config)
    unload("config", "cmei")
    return config


def _kept(what, store, record):
    """Saves the record; whether that worked."""
    try:
        store.save(record)
        return True
    except Exception as e:
        log.warning("the %s could not be written to flash: %s" % (what, e))
        return False


def _day(seconds):
    return None if seconds is None else (seconds + _BEIJING_S) // _DAY_S


def _duration(seconds):
    if seconds < 120:
        return "%d s" % seconds
    minutes = (seconds + 30) // 60
    return "%d min" % minutes if minutes < 120 else "%d h %d min" % (minutes // 60, minutes % 60)
