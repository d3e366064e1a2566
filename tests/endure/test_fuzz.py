"""Fuzzing in short; python3 -m tools test --full tries thousands of examples of each."""

import shutil

import pytest
from endure import fuzz_vm, guided

from tools.cli.verdict import SEED
from tools.common.vm import find_micropython


@pytest.fixture(scope="module")
def fuzz():
    """Imported late: hypothesis takes a second, and not every process that collects these tests runs one."""
    from endure import fuzz

    return fuzz


def test_nothing_that_can_be_read_does_harm(fuzz):
    verdict = fuzz.run(full=False, tell=print)
    assert not verdict.failures, "\n".join(verdict.failures)
    # hypothesis stops early where there are no more examples; and those for MicroPython come on top.
    assert verdict.cases > fuzz.SHORT * len(fuzz_vm.ATTEMPTS)
    assert verdict.note.startswith(f"seed {SEED}; ")
    assert not find_micropython() or "of them in MicroPython" in verdict.note


def test_what_breaks_is_told_with_the_smallest_example(fuzz):
    def picky(number):
        assert number < 100

    found = fuzz.Fuzz(200, 7)
    found.explore("numbers", fuzz.st.integers(), picky)
    (failure,) = found.failures
    assert failure.startswith("numbers([100]) on CPython: AssertionError")


@pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")
def test_what_the_machines_do_not_agree_on_is_told(fuzz, tmp_path):
    found = fuzz.Fuzz(1, 1)
    answer = "HTTP/1.1 204 No\r\n\r\n"
    found.tried = {
        "http_answer": [([answer, [9], "GET"], [204, "No", [], "", True]), ([answer, [9], "GET"], "other")],
        "device_number": [(["1", "2"], "never compared")],
        "configuration": [(["no dict"], None)],
    }
    assert fuzz._replay(found, str(tmp_path), print) == "4 of them in MicroPython"
    (failure,) = found.failures
    assert "http_answer" in failure and "'other' on CPython" in failure


@pytest.mark.parametrize(
    "wrong", [{"productKey": [fuzz_vm.KEY]}, {"wifi": [{"ssid": "home", "key": [fuzz_vm.TOKEN]}]}]
)
def test_a_secret_in_a_message_is_seen(fuzz, monkeypatch, wrong):
    raw = {**fuzz.strategies.CONFIGURATION, **wrong}
    assert fuzz_vm.configuration(raw) == "ConfigError"
    monkeypatch.setattr(fuzz_vm.config, "_shown", lambda name, value: str(value))
    with pytest.raises(AssertionError):
        fuzz_vm.configuration(raw)


def test_an_undocumented_exception_is_a_failure(fuzz, monkeypatch):
    monkeypatch.setattr(fuzz_vm.sse, "next_event", lambda before: 1 / 0)
    found = fuzz.Fuzz(5, 1)
    found.attempt("events", fuzz.st.tuples(fuzz.strategies.LINES))
    assert "ZeroDivisionError" in found.failures[0]


# What endure.guided asks of atheris, which is not there to be had everywhere: it feeds the corpus, once.
FEEDER = """
import contextlib, pathlib

def instrument_imports(include):
    return contextlib.nullcontext()

def Setup(arguments, one_input):
    global feed
    feed = [*map(pathlib.Path.read_bytes, pathlib.Path(arguments[-1]).iterdir())], one_input

def Fuzz():
    inputs, one_input = feed
    for data in inputs:
        one_input(data)
    print("Done", len(inputs), "runs in 0 second(s)")
"""


def test_what_coverage_guides_to_is_tried_and_a_failure_is_told_with_what_was_given(tmp_path, monkeypatch):
    (tmp_path / "atheris").mkdir()
    (tmp_path / "atheris" / "atheris.py").write_text(FEEDER)
    assert guided.guided("device_number_checked", tmp_path, 1) == (guided.SEEDS, "")
    broken = tmp_path / "broken" / "muster"
    shutil.copytree(guided.ROOT / "lib" / "muster", broken)
    (broken / "cmei.py").write_text("def check(number):\n    raise KeyError(number)\n")
    monkeypatch.setattr(guided, "LIB", broken.parent)
    (tmp_path / "again" / "atheris").mkdir(parents=True)
    (tmp_path / "again" / "atheris" / "atheris.py").write_text(FEEDER)
    count, failure = guided.guided("device_number_checked", tmp_path / "again", 1)
    assert count == 0 and failure.startswith("device_number_checked failed with [") and "KeyError" in failure
