"""python3 -m tools bench: its table, and the sizes that hold from run to run. No test is timed."""

import json
import secrets

import pytest
from click.testing import CliRunner

from tools.bench import memory, programs, size, tokens
from tools.bench.figure import Figure, ratio_of
from tools.bench.programs import library
from tools.cli import bench as commands
from tools.cloud import Cloud, Device
from tools.common.vm import find_micropython
from tools.factory import product

in_the_vm = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


def bench(monkeypatch, measures, *arguments):
    def load(name):
        topic = name.rpartition(".")[2]
        return type("Module", (), {"measure": staticmethod(measures[topic])})

    monkeypatch.setattr(commands.importlib, "import_module", load)
    return CliRunner().invoke(commands.bench, arguments)


def test_a_target_that_is_missed_is_a_result(monkeypatch, tmp_path):
    figures = [
        Figure("speed", "theirs", "twice as fast", "3.0 times", True),
        Figure("size", "", "1 KB", "2 KB", False, "of [64] bits"),
    ]
    file = tmp_path / "figures.json"
    done = bench(monkeypatch, {"wire": lambda tell: figures}, "--only", "wire", "--json", str(file))
    assert done.exit_code == 0
    assert "reached" in done.output and "missed" in done.output and "size: of [64] bits" in done.output
    assert [figure["met"] for figure in json.loads(file.read_text())] == [True, False]


def test_a_topic_that_fails_is_named_and_the_others_are_shown(monkeypatch):
    def fail(tell):
        raise RuntimeError("there is no MicroPython")

    measures = {"wire": fail, "fleet": lambda tell: [Figure("rate", "", "", "many", None)]}
    done = bench(monkeypatch, measures, "--only", "wire", "--only", "fleet")
    assert done.exit_code == 1 and "rate" in done.output
    assert "wire could not be measured: RuntimeError: there is no MicroPython" in done.output


def test_ctrl_c_leaves_the_figures_so_far(monkeypatch):
    def interrupt(tell):
        raise KeyboardInterrupt

    measures = {"tokens": lambda tell: [Figure("rate", "", "", "many", None)], "wire": interrupt}
    done = bench(monkeypatch, measures)
    assert done.exit_code == 130 and "rate" in done.output and "wire was interrupted" in done.output


def test_a_folder_that_is_not_there_is_said_before_anything_is_measured(monkeypatch):
    done = bench(monkeypatch, {}, "--json", "/nowhere/figures.json")
    assert done.exit_code == 2 and "the folder of /nowhere/figures.json is not there" in done.output


def test_a_machine_that_was_slow_for_a_while_does_not_move_a_ratio():
    assert ratio_of([(1, 3), (1, 3.1), (9, 27), (2, 9), (1, 2)]) == 3


@pytest.mark.parametrize(("sources", "most"), [(size.makers(), 53_000), (product.library(), 80 * 1024)])
def test_the_library_on_flash_grows_no_more(sources, most):
    assert size.size(sources) <= most


@in_the_vm
def test_a_heap_in_which_a_program_speaks_of_memory_is_too_small(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "VM", tmp_path)
    program = "import gc\nprint('warning: no Memory' if gc.mem_free() + gc.mem_alloc() < 50000 else 'true')\n"
    (tmp_path / "warns.py").write_text(program)
    assert 50_000 <= programs.least_heap("warns", "", [tmp_path], 100_000) < 53_000


@in_the_vm
def test_a_device_reports_on_the_bare_vm_and_two_posts_are_verified(tmp_path, monkeypatch):
    tried = []

    def once(program, request, paths):
        tried.append(program)
        programs.run(program, request, paths, 160_000)
        return 160_000

    monkeypatch.setattr(memory, "least_heap", once)
    device = Device("1234567890123", secrets.token_hex(8), "SN", "BENCH-2")
    with Cloud([device]) as cloud:
        [_, held] = memory.report(cloud, device, tmp_path)
        [known] = cloud.state()["devices"]
    assert known["secretCount"] == 2 and known["lastReport"], known
    assert 20_000 < int(held.found.split()[0].replace(",", "")) < 128_000
    memory.posts(tmp_path)
    assert tried == ["memory_report", "memory_posts"]


@in_the_vm
def test_importing_takes_a_kilobyte(tmp_path):
    assert memory.importing(tmp_path).met


@in_the_vm
def test_a_signature_takes_some_ten_kilobytes(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "HEAPS", 1)
    [_, signing] = tokens.in_the_heap(
        tokens.rsa.generate_private_key(65537, 2048), library(tmp_path / "lib"), tmp_path
    )
    # The least of a single one is between 8 and 10.5.
    assert float(signing.found.split()[0]) <= 12
