"""The bench's topics on memory and flash: sizes that hold from run to run."""

import pytest

from tools.bench import memory, native, programs, size, tokens
from tools.bench.server import ACCEPTED, CannedServer
from tools.cloud import Cloud, Device
from tools.common.vm import find_micropython
from tools.factory import product

in_the_vm = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


@pytest.mark.parametrize(
    ("sources", "most"), [(size.makers(), 56_400), (product.library(product.CLOUDS), 83.8 * 1024)]
)
def test_the_library_on_flash_grows_no_more(sources, most):
    assert size.size(sources) <= most


@in_the_vm
def test_a_heap_in_which_a_program_speaks_of_memory_is_too_small(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "PROGRAMS", tmp_path)
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
    device = Device("1234567890123", "k3y", "SN", "BENCH-2")
    with Cloud([device]) as cloud:
        [_, held] = memory.report(cloud, device, tmp_path)
        [known] = cloud.state()["devices"]
    assert known["secretCount"] == 2 and known["lastReport"], known
    assert 20_000 < int(held.found.split()[0].replace(",", "")) < 128_000
    memory.posts()
    assert tried == ["memory_report", "memory_posts"]


@in_the_vm
def test_importing_takes_a_kilobyte(tmp_path):
    assert memory.importing(tmp_path).met


@in_the_vm
def test_a_signature_takes_some_ten_kilobytes(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "HEAPS", 1)
    key = tokens.rsa.generate_private_key(65537, 2048)
    [_, signing] = tokens.in_the_heap(key, programs.library(tmp_path / "lib"), tmp_path)
    # The least of a single one is between 8 and 10.5.
    assert float(signing.found.split()[0]) <= 12


@in_the_vm
@pytest.mark.skipif(not native.measurable(), reason="no MicroPython of .venv, or no glibc")
def test_a_connection_takes_tens_of_kilobytes_outside_the_heap_and_the_same_each_time():
    with CannedServer(ACCEPTED) as server:
        first, second = (native.kept(server.url, server.ca) for _ in range(2))
        assert server.connections == 4, "a session before the one that is measured"
    assert 15_000 < first["during"] < 100_000
    assert first["after"] == 0, "close() lets go of the roots"
    assert first == second


@in_the_vm
@pytest.mark.skipif(not native.measurable(), reason="no MicroPython of .venv, or no glibc")
def test_a_session_takes_no_more_memory_for_many_roots_on_flash():
    after, during = native.measure(lambda _: None)
    assert after.met and during.met, during
