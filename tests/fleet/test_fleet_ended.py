"""A network that is not there, and commands that are ended in the middle."""

import random
import signal
import threading
import time
from collections import Counter

from operators import FEISHU, IMPORTS, RECORDS, FleetOperator, fleet, laptops, records

from tools.fleet import retry, session


def test_an_unreachable_host(anyone, tmp_path):
    file = tmp_path / "devices.csv"
    file.write_text("ak,sk\na1,s1\n")
    for command in (["import", file], ["list"], ["show", "a1"]):
        done = fleet(*command)
        assert done.exit_code == 1 and "localhost:9: Connection refused. Look at the network" in done.stderr
        # A listing begins anew.
        assert ("goes on where" in done.stderr) == (command[0] == "import")
    # Nothing has left this machine, so there is nothing to look up.
    assert "Looked up" not in fleet("import", file, "--dry-run").stderr


def test_a_server_that_is_somebody_else(operator):
    operator.box.misbehave(certificate="foreign")
    done = operator("import", operator.batch(1))
    assert done.exit_code == 1 and "its CA is unknown here" in done.stderr


def test_ctrl_c_ends_what_was_begun_and_no_more(operator):
    file = operator.batch(60)
    operator("import", file)
    operator.box.misbehave(delay=0.3)
    process = operator.start("disable", file)
    while not any(device["state"] == "BAN" for device in operator.devices().values()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=100)
    assert process.returncode == 130 and "goes on where this one stopped" in errors, errors
    assert "Traceback" not in errors and "not sent" in out and "unknown" not in out
    banned = sum(device["state"] == "BAN" for device in operator.devices().values())
    assert f"{banned} │ disabled" in out
    operator.box.behave()
    done = operator("disable", file)
    assert done.exit_code == 0 and done.calls == 60 - banned


def test_a_call_that_waits_for_its_turn_hears_that_the_run_ends(monkeypatch):
    waiting, ended, stop = threading.Event(), threading.Event(), threading.Event()
    acquire = retry.Limiter.try_acquire

    def try_acquire(*arguments, **how):
        waiting.set()
        return acquire(*arguments, **how)

    def second():
        try:
            call(time.time)
        except retry.CallFailed as e:
            assert isinstance(e.error, retry.RunEnded)
            ended.set()

    call = retry.Retrier(session.ThreadedSession(), 0.001, stop)
    call(time.time)
    monkeypatch.setattr(retry.Limiter, "try_acquire", try_acquire)
    threading.Thread(target=second, daemon=True).start()
    assert waiting.wait(60)
    stop.set()
    assert ended.wait(60)


def killed_until_done(operator, counts, *command):
    """Gives a command again and again, killed a moment after so many calls, and then leaves it alone."""
    for count in counts:
        before = len(operator.box.calls())
        process = operator.start(*command)
        while len(operator.box.calls()) < before + count and process.poll() is None:
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        process.communicate()
    operator.box.behave()
    process = operator.start(*command)
    out, errors = process.communicate(timeout=100)
    assert process.returncode == 0, out + errors


def test_import_killed_at_random_moments_loses_nothing_and_repeats_nothing(operator):
    operator("import", operator.batch(1000))
    file = operator.batch(1060)
    operator.box.misbehave(delay=0.25, path=IMPORTS)
    # In the call that imports, and while its devices are looked up.
    counts = [1, random.randint(1, 30)]
    killed_until_done(operator, counts, "import", file)
    devices = operator.devices()
    assert len(devices) == 1060, counts
    assert Counter((d["received"], d["imported"]) for d in devices.values()) == {(1, 1): 1060}, counts


def test_register_killed_at_random_moments_loses_nothing(box, tmp_path):
    operator = FleetOperator(box, tmp_path, per_second=10_000)
    rows = laptops(150)
    file = operator.csv("f.csv", FEISHU, *rows)
    counts = [random.randint(10, 40) for _ in range(2)]
    operator.box.misbehave(delay=0.02, path=RECORDS)
    killed_until_done(operator, counts, "register", file, "--rate", "1000")
    made = [call for call in box.calls(RECORDS) if call["device"] in {row[3] for row in rows}]
    assert len(records(box, rows)) == 150
    # Feishu cannot be asked; so what was under way at each kill is sent again, and "exists".
    assert len(made) <= 150 + 4 * len(counts)
