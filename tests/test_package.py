"""package.json, by which `mpremote mip install` puts the library onto a board."""

import functools
import http.server
import json
import subprocess
import threading

import pytest

from tools.__main__ import ROOT
from tools.board import find_micropython


def test_package_json_lists_the_whole_library_and_nothing_else():
    package = json.loads((ROOT / "package.json").read_text())
    listed = {target: source for target, source in package["urls"]}
    files = {p.relative_to(ROOT / "lib").as_posix() for p in (ROOT / "lib").rglob("*.py")}
    assert set(listed) == files
    for target, source in listed.items():
        assert source == f"lib/{target}", "a relative source follows wherever the repository is"


def test_versions_agree():
    package = json.loads((ROOT / "package.json").read_text())
    namespace: dict = {}
    exec((ROOT / "lib/muster/__init__.py").read_text(), namespace)
    project = (ROOT / "pyproject.toml").read_text()
    assert package["version"] == namespace["__version__"]
    assert f'version = "{package["version"]}"' in project


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_mip_installs_it_from_wherever_the_repository_is(tmp_path):
    micropython = find_micropython()
    if micropython is None:
        pytest.skip("no MicroPython here")
    handler = functools.partial(Quiet, directory=ROOT)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/package.json"
        program = f"import mip; mip.install({url!r}, target={str(tmp_path)!r})\n"
        program += (
            f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import muster.agent; print(muster.__file__)"
        )
        done = subprocess.run(
            [*micropython.command, "-c", program], capture_output=True, text=True, timeout=50
        )
        server.shutdown()
    assert done.stdout.endswith(f"{tmp_path}/muster/__init__.py\n"), done.stdout + done.stderr
    assert (tmp_path / "muster/clouds/chinamobile.py").read_bytes() == (
        ROOT / "lib/muster/clouds/chinamobile.py"
    ).read_bytes()
