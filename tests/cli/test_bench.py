"""python3 -m tools bench: its table, its JSON, and how it goes on without a topic."""

import json

import pytest
from click.testing import CliRunner

from tools.bench.figure import Figure, Turns
from tools.cli import bench as commands

RATE = Figure("rate", "", "", "many", None)


@pytest.fixture
def bench(monkeypatch):
    """A function that calls the command with other topics: names, and what each of them does."""

    def call(*arguments, **measures):
        def load(name):
            measure = measures[name.rpartition(".")[2]]
            return type("Module", (), {"measure": staticmethod(measure)})

        monkeypatch.setattr(commands, "TOPICS", tuple(measures))
        monkeypatch.setattr(commands.importlib, "import_module", load)
        return CliRunner().invoke(commands.bench, arguments)

    return call


def fails(tell):
    raise RuntimeError("there is no MicroPython")


def interrupts(tell):
    raise KeyboardInterrupt


FIGURES = [
    Figure("speed", "theirs", "twice as fast", "3.0 times", True),
    Figure("size", "", "1 KB", "2 KB", False, "of [64] bits"),
]


def test_a_target_that_is_missed_is_a_result(bench):
    done = bench(wire=lambda tell: FIGURES)
    assert done.exit_code == 0
    assert "reached" in done.stdout and "missed" in done.stdout and "size: of [64] bits" in done.stdout


def test_json_stands_alone_on_stdout(bench):
    done = bench("--json", wire=lambda tell: tell("a [step]") or FIGURES, fleet=fails)
    assert done.exit_code == 1 and "a [step]" in done.stderr and "fleet could not be" in done.stderr
    assert [(figure["what"], figure["met"]) for figure in json.loads(done.stdout)] == [
        ("speed", True),
        ("size", False),
    ]


def test_a_topic_that_fails_is_named_and_the_others_are_shown(bench):
    done = bench("--only", "wire", "--only", "fleet", wire=fails, size=interrupts, fleet=lambda tell: [RATE])
    assert done.exit_code == 1 and "rate" in done.stdout
    assert "wire could not be measured: RuntimeError: there is no MicroPython" in done.stderr


def test_ctrl_c_leaves_the_figures_so_far(bench):
    done = bench(tokens=lambda tell: [RATE], wire=interrupts, fleet=fails)
    assert done.exit_code == 130 and "rate" in done.stdout and "wire was interrupted" in done.stderr
    assert "fleet" not in done.output


def test_a_machine_that_was_slow_for_a_while_does_not_move_a_ratio():
    turns = Turns([(1, 3), (1, 3.1), (9, 27), (2, 9), (1, 2)])
    assert (turns.ratio, turns.ours, turns.theirs) == (3, 1, 3.1)
