"""package.json and chinamobile.json, which mip installs, and manifest.py, which freezes: one library each."""

import json
import os
import subprocess
import sys

import pytest
from devices import hourly

from tools.board import Board
from tools.common.littlefs import build
from tools.common.paths import ROOT
from tools.common.vm import find_micropython
from tools.factory.product import BLOCKS, board_files, library

LIB = ROOT / "lib"
PACKAGES = ("package.json", "chinamobile.json")

needs_micropython = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


def listed(package):
    return [tuple(pair) for pair in json.loads((ROOT / package).read_text())["urls"]]


def all_of_it():
    return {path.relative_to(LIB).as_posix() for path in LIB.rglob("*.py")}


def test_package_json_lists_the_whole_library_and_nothing_else():
    assert {target for target, _ in listed("package.json")} == all_of_it()


def test_chinamobile_json_lists_what_the_agent_imports_and_no_other_cloud():
    names = [path.relative_to(LIB).as_posix() for path in library([])]
    assert [target for target, _ in listed("chinamobile.json")] == names
    assert "muster/clouds/chinamobile.py" in names and "muster/clouds/coze.py" not in names


@pytest.mark.parametrize("package", PACKAGES)
def test_sources_follow_wherever_the_repository_is(package):
    assert all(source == f"lib/{target}" for target, source in listed(package))


def test_versions_agree():
    versions = [json.loads((ROOT / package).read_text())["version"] for package in PACKAGES]
    namespace: dict = {}
    exec((ROOT / "lib/muster/__init__.py").read_text(), namespace)
    assert versions == [namespace["__version__"]] * 2
    assert f'version = "{versions[0]}"' in (ROOT / "pyproject.toml").read_text()


def on_vm(program, **environment):
    return subprocess.run(
        [*find_micropython().command, "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


@needs_micropython
@pytest.mark.parametrize("package", PACKAGES)
def test_mip_installs_into_an_empty_folder_all_that_it_needs(package, repository, tmp_path):
    folder = str(tmp_path)
    done = on_vm(f"import mip; mip.install({f'{repository}/{package}'!r}, target={folder!r})")
    for target, source in listed(package):
        assert (tmp_path / target).read_bytes() == (ROOT / source).read_bytes(), done.stdout
    program = """
import muster.clouds.chinamobile
muster.Agent, muster.config, muster.board, muster.wifi, muster.clock
print(muster.__file__)
"""
    done = on_vm(program, MICROPYPATH=f"{folder}:.frozen")
    assert done.stdout == f"{folder}/muster/__init__.py\n", done.stdout + done.stderr


@needs_micropython
def test_a_board_that_mpremote_installed_chinamobile_json_on_enrols(repository, cloud, tmp_path):
    files = board_files(hourly(cloud), [cloud.ca_pem])
    bare = {path: data for path, data in files.items() if not path.startswith("/lib/")}
    with Board(tmp_path, build(bare, BLOCKS, 0)) as board:
        board.wait_for("no module named 'muster'")
        board.wait_for(">>> ")
        mip = ("mip", "install", f"{repository}/chinamobile.json")
        done = subprocess.run(
            [sys.executable, "-m", "mpremote", "connect", board.port, *mip, "+", "reset"],
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        board.wait_for("enrolled")
        board.wait_for("reported")


def test_the_manifest_freezes_the_whole_library_beside_the_ports_own():
    """With stand-ins for the two functions of MicroPython's tools/manifestfile.py that it calls."""
    manifest = ROOT / "firmware" / "manifest.py"
    included, frozen = [], set()

    def package(name, files=None, base_path=".", opt=None):
        # Paths are those of the manifest's folder.
        base = manifest.parent / base_path
        found = [(base / name / file) for file in files] if files else (base / name).rglob("*.py")
        frozen.update(path.relative_to(base).as_posix() for path in found)

    exec(manifest.read_text(), {"include": included.append, "package": package})
    assert included == ["$(PORT_DIR)/boards/manifest.py"]
    assert frozen == all_of_it()
