"""The bench's native topic: what a session takes outside the heap is seen to the byte."""

import pytest

from tools.bench import native
from tools.bench.server import Canned
from tools.bench.wire import ANSWER
from tools.common.certificates import keep_root, make_server
from tools.common.vm import find_micropython

pytestmark = pytest.mark.skipif(
    find_micropython() is None or not native.measurable(), reason="no MicroPython of .venv, or no glibc"
)


def test_a_connection_takes_tens_of_kilobytes_and_the_same_each_time(tmp_path):
    root = keep_root(tmp_path, "tests")
    with Canned(make_server("127.0.0.1", signer=root).context(), ANSWER) as server:
        url = f"https://127.0.0.1:{server.port}/"
        first, second = (native.kept(url, tmp_path / "ca.pem") for _ in range(2))
        assert server.connections == 4, "a session before the one that is measured"
    assert 15_000 < first["during"] < 100_000
    assert first["after"] == 0, "close() lets go of the roots"
    assert first == second
