import asyncio
import os

from agent_world import CONFIG, HOUR, NOW, Hardware, World, started
from clock_board import ClockBoard
from helpers import lines_of, raises, replaced
from muster import clock, log
from muster.agent import Agent
from muster.errors import CloudError, ConfigError, Error, TransportError
from muster.portal import home
from muster.store import FileStore, NvsStore
from nvs_in_ram import Nvs


class SingleStore:
    """A program's own store, with nothing but the three methods."""

    def __init__(self):
        self.record = None

    def load(self):
        return self.record

    def save(self, record):
        assert type(record) is dict
        self.record = dict(record)

    def erase(self):
        self.record = None


def test_enrols_and_reports_at_once():
    world = World()
    pause = world.agent().step()
    assert world.platform.calls == ["info", "report"]
    assert 0 < pause <= 12 * HOUR and type(pause) is int


def test_the_report_says_what_the_board_knows():
    world = World(firmwareVersion="2.5", platform="FreeRTOS")
    world.agent().step()
    assert world.platform.bodies[1] == {
        "deviceId": "d1",
        "deviceSecret": "s3cret1",
        "productId": "p1",
        "productKey": "k3y",
        "params": {
            "innerIp": ["10.0.0.7"],
            "netSpeed": "0Mbps",
            "netType": "wifi",
            "platform": "FreeRTOS",
            "sdkVersion": "ai_http_1.0",
            "firmwareVersion": "2.5",
            "imei": "",
            "cmei": "111234560000018",
            "mac": "50-5A-65-51-82-13",
        },
    }


def test_the_secret_is_fetched_once_for_ever():
    world = World()
    for _ in range(5):
        agent = world.agent()
        agent.step()
        world.clock.time += 13 * HOUR
        agent.step()
    assert world.platform.secrets == 1


def test_the_secret_is_on_flash_before_the_first_report():
    world, agent = started()
    agent.enrol()
    assert world.platform.calls == ["info"]
    assert world.store.load()["deviceSecret"] == "s3cret1"


def test_credentials_that_are_on_flash_need_no_network():
    world = World()
    world.agent().enrol()
    world.platform.request = None
    assert world.agent().enrol()["deviceSecret"] == "s3cret1"


def test_another_device_number_type_or_product_fetches_again():
    world = World()
    world.agent().step()
    for change in (
        {"deviceNo": "n2"},
        {"productId": "p2"},
        {"deviceNoType": "CMEI", "deviceNo": CONFIG["cmei"]},
    ):
        world.config.update(change)
        calls = len(world.platform.calls)
        world.agent().step()
        # At once, whatever the schedule of the device before it was.
        assert world.platform.calls[calls:] == ["info", "report"]
        world.agent().step()
        assert len(world.platform.calls) == calls + 2


def test_a_secret_of_another_device_is_not_kept():
    for lie in ({"deviceNo": "n2"}, {"productId": "p2"}):
        world = World()
        world.platform.lies = lie
        agent = world.agent()
        assert "2, and the request is about" in lines_of(agent.step)
        assert world.store.record is None and agent.status()["enrolled"] is False
        assert "report" not in world.platform.calls
        world.platform.lies = {}
        world.clock.time += HOUR
        agent.step()
        assert world.store.load()["deviceSecret"] == "s3cret2" and agent.status()["reports"] == 1


def test_an_answer_to_another_devices_report_is_no_success():
    world = World()
    world.platform.lies = {"deviceId": "d2"}
    agent = world.agent()
    agent.enrol()
    world.platform.lies = {"deviceId": "d3"}
    assert "data.deviceId is d3, and the request is about d2" in lines_of(agent.step)
    assert agent.status()["reports"] == 0 and agent.status()["last_report"] is None
    world.platform.lies = {"deviceId": "d2"}
    world.clock.time += HOUR
    agent.step()
    assert agent.status()["reports"] == 1


def test_a_changed_key_or_address_does_not_fetch_again():
    world = World()
    world.agent().step()
    world.config.update({"productKey": "other", "baseUrl": "https://elsewhere"})
    world.clock.time += 13 * HOUR
    agent = world.agent()
    agent.step()
    assert world.platform.secrets == 1


def test_a_heartbeat_rewrites_only_the_small_record():
    world, agent = started()
    agent.step()
    for _ in range(3):
        world.clock.time += 13 * HOUR
        agent.step()
    assert world.store.saves == 2  # into both slots, at the enrolment
    assert world.store.beside("schedule").saves == 4
    assert len(world.store.beside("schedule").record) < 90


def test_a_reboot_does_not_report_before_it_is_due():
    world = World()
    pause = world.agent().step()
    world.clock.time += pause - 10
    agent = world.agent()
    assert agent.step() == 10
    world.clock.time += 10
    agent.step()
    assert world.platform.calls == ["info", "report", "report"]


def test_overdue_after_a_power_cut_goes_out_after_a_delay_that_the_deadline_allows():
    for off_h, most in ((13, 2 * HOUR), (3 * 24, 900)):
        world = World()
        world.agent().step()
        world.clock.time += off_h * HOUR
        agent = world.agent()
        pause = agent.step()
        assert pause <= most and world.platform.calls.count("report") == 1
        world.clock.time += pause
        agent.step()
        assert world.platform.calls.count("report") == 2


def test_the_report_after_an_enrolment_by_hand_is_due_at_once():
    world, agent = started()
    agent.enrol()
    world.clock.time += 60
    agent.step()
    assert world.platform.calls == ["info", "report"]


def _after(fault):
    """The pause after a report that was due has failed, and the agent."""
    world, agent = started()
    agent.step()
    world.clock.time = agent.status()["next_due"]
    world.platform.fault = fault
    return agent.step(), agent


def test_what_the_platform_asks_to_wait_is_obeyed_whatever_its_answer_looks_like():
    busy = '{"code": "503", "message": "busy"}', "<html>busy</html>"
    for status in (429, 503):
        for body in busy:
            pause, agent = _after((body, status, {"Retry-After": "1800"}))
            assert 1800 < pause <= 1830 and agent.status()["failures"] == 1
    for when, least in (("Sun, 22 Nov 2026 00:10:00 GMT", 600), ("Fri, 22 Jan 2027 00:00:00 GMT", 3600)):
        headers = {"retry-after": when, "date": "Sun, 22 Nov 2026 00:00:00 GMT"}
        pause, _ = _after((busy[0], 503, headers))
        assert least < pause <= least + 30
    world = World()
    world.platform.fault = (busy[0], 429, {"Retry-After": "600"})
    assert 600 < world.agent().step() <= 630


def test_the_deadline_is_kept_whatever_the_platform_asks():
    world, agent = started()
    agent.step()
    world.platform.fault = ("", 503, {"Retry-After": "3600"})
    world.clock.time = agent.status()["next_due"]
    tries = 0
    while world.clock.time < NOW + 24 * HOUR - 60:
        last = world.clock.time
        world.clock.time += agent.step()
        tries += 1
    # The Retry-After ends 15 minutes before the deadline, and the wait then lasts 15 at most.
    assert last >= NOW + 24 * HOUR - (3600 + 900 + 60) and 4 < tries < 100


def test_a_network_that_was_gone_when_a_report_was_due_brings_no_herd():
    world, agent = started(wifi=[{"ssid": "home", "key": "w1f1k3yy"}])
    agent.step()
    world.hardware.online = None
    world.clock.time = agent.status()["next_due"]
    for _ in range(100):  # eight hours at most
        pause = agent.step()
        assert pause <= 300
        world.clock.time += pause
    due = agent.status()["next_due"]
    world.hardware.online = False
    if due > world.clock.time:
        agent.step()
        assert world.hardware.online and world.platform.calls.count("report") == 1
        world.clock.time = due
    agent.step()
    assert world.platform.calls.count("report") == 2


class Ticks:
    """muster.clock's ticks, wrapping as an ESP32's do; passed is in seconds."""

    WRAP = 1 << 30
    passed = 0

    def ticks_ms(self):
        return (self.passed * 1000 + 5) % self.WRAP

    def ticks_diff(self, end, start):
        return (end - start + self.WRAP // 2) % self.WRAP - self.WRAP // 2

    def ticks_add(self, ticks, delta):
        assert -self.WRAP // 2 < delta < self.WRAP // 2
        return (ticks + delta) % self.WRAP

    def in_place(self):
        return replaced(clock, ticks_ms=self.ticks_ms, ticks_diff=self.ticks_diff, ticks_add=self.ticks_add)


def test_a_program_that_does_not_call_for_days_finds_its_clock_as_it_was():
    for days in (1, 7, 12, 13, 20, 30, 100):
        world = World()
        ticks = Ticks()
        with ClockBoard(NOW) as board, ticks.in_place():
            assert clock.set_from_date("Sun, 22 Nov 2026 00:00:00 GMT")
            agent = Agent(world.config, world.platform, world.store, hardware=world.hardware)
            agent.step()
            for _ in range(2):
                ticks.passed += days * 24 * HOUR
                board.now += days * 24 * HOUR
                agent.step()
                assert board.now == NOW + ticks.passed and board.set == 1, days
                assert agent.status()["last_report"] == board.now
            # One that somebody sets meanwhile is still put back.
            board.now += 400
            agent.step()
            assert abs(board.now - NOW - ticks.passed) <= 2


def faults():
    return (
        TransportError("no route"),
        OSError(113),
        MemoryError(),
        ('{"code": "500", "message": "no such device"}', 200),
        ("<html>502</html>", 502),
        ("", 200),
        ("[1]", 200),
    )


def test_step_never_raises_backs_off_and_recovers_by_itself():
    for fault in faults():
        world, agent = started()
        world.platform.fault = fault
        pauses = []
        for _ in range(12):
            pause = agent.step()
            assert 0 < pause <= 900
            pauses.append(pause)
            world.clock.time += pause
        assert pauses[0] <= 30 and max(pauses) > 240
        assert agent.status()["failures"] == 12 and agent.status()["last_error"]
        world.platform.fault = None
        agent.step()
        assert agent.status()["failures"] == 0 and agent.status()["last_error"] is None
        assert agent.status()["reports"] == 1


def test_a_step_before_its_time_does_nothing():
    world, agent = started()
    world.platform.fault = TransportError("no route")
    agent.step()
    for _ in range(5):
        agent.step()
    assert len(world.platform.calls) == 1


def test_enrol_and_report_raise_what_went_wrong():
    world, agent = started()
    world.platform.fault = TransportError("no route")
    raises(TransportError, agent.report)
    world.platform.fault = ('{"code": "500"}', 200)
    raises(CloudError, agent.enrol)


def test_status_shows_what_failed_by_hand_too():
    for call in ("enrol", "report"):
        world, agent = started()
        world.platform.fault = TransportError("no route")
        for failures in (1, 2):
            raises(TransportError, getattr(agent, call))
            assert agent.status()["failures"] == failures and agent.status()["last_error"] == "no route"
        world.platform.fault = ('{"code": "500", "message": "no such device"}', 200)
        raises(CloudError, getattr(agent, call))
        assert "no such device" in agent.status()["last_error"] and agent.status()["failures"] == 3
        world.platform.fault = None
        getattr(agent, call)()
        assert agent.status()["failures"] == 0 and agent.status()["last_error"] is None
    # What is on flash already says nothing of the report that failed.
    world.platform.fault = TransportError("no route")
    raises(TransportError, agent.report)
    agent.enrol()
    assert agent.status()["last_error"] == "no route"
    world.platform.fault = RuntimeError("no \x9b2J route")  # a driver's words may be anything
    raises(RuntimeError, agent.report)
    assert agent.status()["last_error"] == "no  2J route"


def test_it_says_that_it_has_enrolled_once_the_secret_is_on_flash():
    world, agent = started()
    world.store.full = True
    assert "enrolled" not in lines_of(agent.step)
    world.store.full = False
    world.clock.time += 13 * HOUR
    assert "enrolled as d1" in lines_of(agent.step)


def test_full_flash_is_survived_and_the_secret_kept_as_soon_as_it_can_be():
    world = World()
    world.store.full = True
    agent = world.agent()
    assert "flash" in lines_of(agent.step)
    assert world.platform.calls == ["info", "report"]
    world.store.full = False
    world.clock.time += 13 * HOUR
    agent.step()
    assert world.platform.secrets == 1
    assert world.store.load()["deviceSecret"] == "s3cret1"
    # It must not have cost the schedule that was written meanwhile.
    assert world.agent().step() > HOUR


def test_both_slots_hold_the_secret_before_enrolled_is_said(tmp):
    def slots():
        found = {}
        for slot in (0, 1):
            try:
                with open("%s/credentials.%d" % (tmp, slot), "rb") as f:
                    found[slot] = f.read()
            except OSError:
                pass
        return found

    def one_slot_is_lost(slot):
        with open("%s/credentials.%d" % (tmp, slot), "wb") as f:
            f.write(slots()[1 - slot][:-1] + b"?")

    world = World()
    world.store = FileStore(tmp + "/credentials")
    said = []
    with replaced(log, write=lambda level, text: said.append((text, slots()))):
        world.agent().step()
        assert [kept for text, kept in said if "enrolled as" in text] == [slots()]
        assert len(slots()) == 2 and all(b"s3cret1" in raw for raw in slots().values())
        # The loss of either costs no second secret, and is mended at the next start.
        for slot in (0, 1):
            one_slot_is_lost(slot)
            world.agent().step()
            assert FileStore(tmp + "/credentials").load()["deviceSecret"] == "s3cret1"
        one_slot_is_lost(0)
        world.agent()
        one_slot_is_lost(1)
        world.agent().step()
        before = slots()
        world.clock.time += 13 * HOUR
        world.agent().step()
        assert world.platform.secrets == 1 and slots() == before
        assert not any("written" in text for text, _ in said)


def test_a_slot_that_cannot_be_written_is_warned_of_and_does_not_stop_the_other(tmp):
    for slot in (0, 1):
        world = World()
        world.store = FileStore("%s/of%d" % (tmp, slot))
        for name in ("%s.%d" % (world.store.path, slot), "%s.%d~" % (world.store.path, slot)):
            os.mkdir(name)
            os.mkdir(name + "/theirs")
        text = lines_of(world.agent().step)
        assert text.count("second copy of the secret could not be written") == 1 and "enrolled as" in text
        world.agent().step()
        assert world.platform.secrets == 1


def test_a_long_secret_is_kept_in_files_and_refused_by_nvs_in_a_sentence(tmp):
    world = World()
    world.platform.tail = "s" * 1000
    world.store = FileStore(tmp + "/credentials")
    assert "written" not in lines_of(world.agent().step)
    world.agent().step()
    assert world.platform.secrets == 1 and len(world.store.load()["deviceSecret"]) == 1007
    Nvs.flash = {}
    world.store = NvsStore("muster", _nvs=Nvs("muster"))
    text = lines_of(world.agent().step)
    assert "secret could not be written to flash: the record takes" in text
    assert "a slot holds 512" in text and '"store": "file"' in text and "enrolled as" not in text


def test_wifi_is_joined_again_when_it_is_gone():
    world = World(wifi=[{"ssid": "home", "key": "w1f1k3yy"}])
    world.hardware.online = False
    agent = world.agent()
    assert "joined home" in lines_of(agent.step)
    assert world.platform.calls == ["info", "report"]
    world.hardware.online = None  # no network answers
    world.clock.time += 13 * HOUR
    text = lines_of(agent.step)
    assert "home" in text and "w1f1k3yy" not in text
    assert len(world.platform.calls) == 2


def test_wifi_that_only_claims_to_be_connected_is_joined_anew():
    world, agent = started(wifi=[{"ssid": "home", "key": "w1f1k3yy"}])
    world.platform.fault = TransportError("no route")
    for _ in range(4):
        world.clock.time += agent.step()
    assert world.hardware.rejoins == 1


class Slow(Hardware):
    """Its first attempt to join fails."""

    online = False

    def __init__(self):
        self.asked = []

    def join(self, networks, hostname, wait_ms, anew, **radio):
        self.asked.append((wait_ms, radio))
        self.online = len(self.asked) > 1
        yield None
        return "home" if self.online else None


def test_the_first_join_may_take_longer_and_the_radio_is_set_as_the_configuration_says():
    for settings, first, radio in (
        ({}, 30000, {}),
        ({"firstJoin": 60, "pm": "none", "txpower": 8}, 60000, {"pm": "none", "txpower": 8}),
    ):
        world = World(wifi=[{"ssid": "home", "key": "w1f1k3yy"}], **settings)
        world.hardware = Slow()
        agent = world.agent()
        for _ in range(2):
            world.clock.time += agent.step()
        world.hardware.online = False
        world.clock.time += 13 * HOUR
        agent.step()
        assert world.hardware.asked == [(first, radio), (first, radio), (15000, radio)]


def test_a_clock_that_knows_nothing_is_asked_about_before_a_report_is_held_back():
    world = World()
    world.agent().step()
    world.clock.is_trusted = False
    world.agent().step()
    # Nobody told the time, and 24 hours must not pass unnoticed.
    assert world.clock.syncs == 1
    assert world.platform.calls == ["info", "report", "report"]


def test_a_sync_that_raises_does_not_hold_up_a_report():
    world = World()
    world.clock.is_trusted = False
    world.clock.sync = lambda: 1 // 0
    world.agent().step()
    assert world.platform.calls == ["info", "report"]


def test_use_before_the_time_is_known_counts_once_it_is():
    world = World(policy="daily")
    world.agent().step()
    world.clock.time += 17 * HOUR  # the next day in Beijing
    agent = world.agent()
    agent.used()
    agent.step()
    world.clock.time += 300
    agent.step()
    assert world.platform.calls.count("report") == 2


def test_a_refusal_leaves_a_wifi_that_works_alone():
    world, agent = started(wifi=[{"ssid": "home", "key": "w1f1k3yy"}])
    world.platform.fault = ('{"code": "500"}', 200)
    for _ in range(8):
        world.clock.time += agent.step()
    assert world.hardware.joins == 0


def test_a_lost_network_is_looked_for_every_five_minutes():
    world = World(wifi=[{"ssid": "home", "key": "w1f1k3yy"}])
    world.hardware.online = None
    agent = world.agent()
    for _ in range(12):
        pause = agent.step()
        assert pause <= 300
        world.clock.time += pause


def test_a_clock_set_back_by_years_is_no_reason_to_be_silent():
    world, agent = started()
    agent.step()
    world.clock.time -= 3 * 365 * 24 * HOUR
    for _ in range(2):
        world.clock.time += min(900, agent.step())
    assert world.platform.calls.count("report") == 2


def test_a_clock_that_somebody_sets_is_put_back_once_the_time_was_told():
    world = World()
    with ClockBoard(NOW) as board:
        assert clock.set_from_date("Sun, 22 Nov 2026 00:00:00 GMT")
        agent = Agent(world.config, world.platform, world.store, hardware=world.hardware)
        agent.step()
        due = agent.status()["next_due"]
        for years in (10, -10):
            board.now += years * 365 * 24 * HOUR
            agent.step()
            assert abs(board.now - NOW) <= 2 and abs(agent.status()["next_due"] - due) <= 4
        # As long as nobody has told the time, whoever sets it may know it.
        clock.distrust()
        board.now += 24 * HOUR
        agent.step()
        assert board.now >= NOW + 24 * HOUR - 2
        assert abs(agent.status()["next_due"] - due - 24 * HOUR) <= 4
        assert world.platform.calls == ["info", "report"]


def test_a_task_with_nothing_to_do_feeds_the_watchdog():
    world, agent = started()
    agent.step()
    fed = []
    world.hardware.feed = lambda: fed.append(1)

    async def main():
        task = asyncio.create_task(agent.task())
        while not fed:
            await asyncio.sleep(0.005)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass

    asyncio.run(main())
    assert world.platform.calls == ["info", "report"]


def test_a_second_call_while_one_is_at_work_is_refused():
    world, agent = started()
    errors = []

    def request(*args, **kw):
        errors.append(raises(Error, agent.enrol))
        raise TransportError("no route")

    world.platform.request = request
    agent.step()
    assert "at work" in str(errors[0])
    assert world.platform.secrets == 0


def test_a_record_without_a_secret_is_none():
    world = World()
    world.agent().step()
    record = world.store.load()
    del record["deviceSecret"]
    world.store.save(record)
    agent = world.agent()
    assert agent.status()["enrolled"] is False
    agent.step()
    assert world.platform.secrets == 2


def test_what_a_program_does_to_the_credentials_it_got_stays_its_own():
    agent = World().agent()
    agent.enrol().clear()
    assert agent.status()["device_id"] == "d1"


def test_a_store_that_raises_anything_does_not_hold_up_a_report():
    world = World()

    def save(record):
        raise ValueError("too large")

    world.store.save = world.store.beside("schedule").save = save
    text = lines_of(world.agent().step)
    assert "too large" in text
    assert world.platform.calls == ["info", "report"]


def test_daily_reports_on_the_first_use_of_a_beijing_day():
    world = World(policy="daily")
    world.clock.time = NOW + 15 * HOUR  # 23:00 in Beijing
    agent = world.agent()
    agent.step()
    agent.used()
    agent.step()
    assert world.platform.calls.count("report") == 1
    world.clock.time += 2 * HOUR  # 01:00
    agent.step()
    assert world.platform.calls.count("report") == 1
    agent.used()
    agent.step()
    agent.used()
    agent.step()
    assert world.platform.calls.count("report") == 2


def test_daily_forgets_the_day_of_a_clock_that_was_wrong():
    world, agent = started(policy="daily")
    agent.step()
    world.clock.time += 5 * 24 * HOUR
    agent.used()
    agent.step()
    world.clock.time -= 5 * 24 * HOUR
    agent.step()
    world.clock.time += 4 * 24 * HOUR + 15 * HOUR  # 23:00 in Beijing
    agent.report()
    world.clock.time += 2 * HOUR  # a use on this day had counted when it was wrong
    reports = world.platform.calls.count("report")
    agent.used()
    agent.step()
    assert world.platform.calls.count("report") == reports + 1


def test_daily_reports_a_first_use_though_the_deadline_has_made_it_report_that_day():
    world = World(policy="daily")
    world.clock.time = NOW + 12 * HOUR  # 20:00 in Beijing
    agent = world.agent()
    agent.step()
    for day in range(1, 8):
        world.clock.time += 22 * HOUR
        agent.step()
        reports = world.platform.calls.count("report")
        world.clock.time += 2 * HOUR
        for _ in range(2):
            agent.used()
            agent.step()
        assert world.platform.calls.count("report") == reports + 1, day
    # Switched on again, it knows when it last reported, and not why.
    agent = world.agent()
    agent.step()
    agent.used()
    agent.step()
    assert world.platform.calls.count("report") == reports + 1


def test_daily_without_any_use_still_keeps_the_deadline():
    world, agent = started(policy="daily")
    pause = agent.step()
    assert 20 * HOUR < pause < 23 * HOUR
    world.clock.time += pause
    agent.step()
    assert world.platform.calls.count("report") == 2


def test_use_means_nothing_to_the_interval_policy():
    world, agent = started()
    agent.step()
    world.clock.time += 9 * HOUR
    before = agent.status()["next_due"]
    agent.used()
    assert agent.status()["next_due"] == before


def test_auto_is_the_boards_own_number():
    world = World(deviceNo="auto")
    world.agent().step()
    assert world.platform.bodies[0]["deviceNo"] == "505A65518213"
    world.hardware.serial_number = lambda: ""
    assert "MAC" in str(raises(ConfigError, world.agent))


def test_a_wrong_configuration_is_refused():
    assert "productId" in str(raises(ConfigError, Agent, dict(CONFIG, productId="")))


def test_a_report_by_hand_ends_a_row_of_failures():
    world, agent = started()
    world.platform.fault = TransportError("no route")
    agent.step()
    assert agent.status()["failures"] == 1
    world.platform.fault = None
    agent.report()
    assert agent.status()["failures"] == 0 and agent.status()["last_error"] is None


def test_no_connection_is_kept_from_one_report_to_the_next():
    world, agent = started()
    closed = []
    world.platform.close = lambda: closed.append(len(world.platform.calls))
    agent.step()
    world.platform.fault = TransportError("no route")
    world.clock.time += 13 * HOUR
    agent.step()
    assert closed == [2, 3]


def test_status_tells_a_person_without_secrets():
    agent = World().agent()
    assert agent.status()["enrolled"] is False
    agent.step()
    status = agent.status()
    assert status["enrolled"] is True and status["device_id"] == "d1"
    assert status["last_report"] == NOW and status["next_due"] > NOW
    assert "s3cret" not in str(status) and "k3y" not in str(status)


def test_no_secret_is_ever_logged():
    world, agent = started()
    world.platform.fault = ('{"code": "500", "message": "k3y wrong"}', 200)
    text = lines_of(agent.step)
    world.platform.fault = None
    world.clock.time += HOUR
    text += lines_of(agent.step)
    world.platform.fault = ('{"code": "500", "message": "k3y s3cret1 wrong"}', 200)
    world.clock.time += 13 * HOUR
    text += lines_of(agent.step)
    assert "wrong" in text and "reported" in text
    assert "s3cret" not in text and "k3y" not in text
    assert "s3cret" not in repr(agent.enrol())


def test_a_clock_that_the_program_asks_about_is_not_put_back(ntp):
    world = World()
    with ClockBoard(NOW) as board:
        agent = Agent(world.config, world.platform, world.store, hardware=world.hardware)
        agent.step()
        for _ in range(2):
            assert clock.sync([ntp["good"]])
            agent.step()
            assert abs(board.now - ntp["time"]) <= 2


def test_a_time_that_only_ntp_has_told_is_no_floor_after_a_reboot(ntp):
    lie = ntp["time"] + 30 * 24 * HOUR
    for date in (None, "Thu, 31 Jan 2030 00:00:00 GMT"):
        world = World()
        with ClockBoard(lie):
            assert clock.set_from_date(date) == (date is not None)
            Agent(world.config, world.platform, world.store, hardware=world.hardware).report()
        with ClockBoard(946684800) as board:
            Agent(world.config, world.platform, world.store, hardware=world.hardware)
            assert board.now == lie  # as good a guess as any
            assert clock.sync([ntp["good"]]) == (date is None)


def test_a_set_up_page_that_is_asked_for_in_the_midst_of_a_report_opens_after_it():
    world, agent = started(setup={"key": "ABCDE23456"})
    request = world.platform.request
    asked = []

    def pressed(*args, **kwargs):
        agent.set_up()
        return request(*args, **kwargs)

    def joins(agent, stale, wanted):
        asked.append(wanted)
        yield

    with replaced(home, join=joins):
        with replaced(world.platform, request=pressed):
            agent.step()
        assert world.platform.calls == ["info", "report"] and not asked
        for _ in range(2):
            agent.step()
            assert asked == [True]


def test_a_set_up_page_that_cannot_be_loaded_keeps_no_report_back():
    world, agent = started(setup={"key": "ABCDE23456"})

    def joins(agent, stale, wanted):
        raise MemoryError

    with replaced(home, join=joins):
        agent.set_up()
        world.clock.time += agent.step()
        assert not world.platform.calls
        agent.step()
        assert world.platform.calls == ["info", "report"]
