"""LittleFS images, judged by littlefs-python and by the VM that mounts them."""

import datetime
import json

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from littlefs import LittleFS
from littlefs.context import UserContext

from tools.board import Board, find_micropython
from tools.factory.image import BLOCK, board_files, build, read

BUILT = int(datetime.datetime(2025, 11, 20, 8, 30, tzinfo=datetime.timezone.utc).timestamp())
FILES = {
    "/boot.py": b"",
    "/config.json": b"{}",
    "/lib/muster/clouds/coze.py": b"# " + b"x" * 9000,
    "/main.py": b"print('main')\n",
}


@pytest.fixture(scope="module")
def root():
    return trustme.CA().cert_pem.bytes()


@pytest.mark.skipif(find_micropython() is None, reason="needs MicroPython")
def test_the_vm_finds_files_directories_and_times(tmp_path):
    look = b"""
import os
for path in ("/boot.py", "/config.json", "/lib/muster/clouds/coze.py", "/main.py"):
    print(path, os.stat(path)[6], os.stat(path)[8] + 946684800)
print(os.listdir("/lib/muster"), os.statvfs("/")[:3])
with open("/new", "w") as f:
    f.write("written")
print("looked")
"""
    with Board(tmp_path, build({**FILES, "/main.py": look}, 64, BUILT)) as board:
        board.wait_for("looked")
        printed = board.output.splitlines()
        board.cut_power()
        files = board.files()
    assert f"/config.json 2 {BUILT}" in printed
    assert f"/lib/muster/clouds/coze.py 9002 {BUILT}" in printed
    assert f"/main.py {len(look)} {BUILT}" in printed
    assert "['clouds'] (4096, 4096, 64)" in printed
    assert files["/new"] == b"written"
    assert files["/lib/muster/clouds/coze.py"] == FILES["/lib/muster/clouds/coze.py"]


def test_littlefs_python_reads_what_was_built():
    image = build(FILES, 32, BUILT)
    assert len(image) == 32 * BLOCK
    assert read(image) == FILES
    other = LittleFS(
        context=UserContext(buffer=bytearray(image)), mount=False, block_size=BLOCK, block_count=32
    )
    other.mount()
    assert other.getattr("/main.py", 1) == (BUILT * 10**9).to_bytes(8, "little")


def test_the_same_input_gives_the_same_bytes():
    image = build(FILES, 32, BUILT)
    assert build(dict(reversed(FILES.items())), 32, BUILT) == image
    assert build(FILES, 32, BUILT + 1) != image


def test_what_does_not_fit_is_a_sentence():
    with pytest.raises(
        ValueError, match=r"2 files of 40001 bytes do not fit into 8 blocks of 4096 bytes: .*larger"
    ):
        build({"/a": b"1" * 40000, "/b": b"2"}, 8, BUILT)


def test_what_is_no_image_is_a_sentence():
    with pytest.raises(ValueError, match="not a LittleFS image"):
        read(b"\xff" * 8 * BLOCK)


def test_a_board_gets_its_program_its_configuration_and_der_roots(tmp_path, root):
    (tmp_path / "lib/muster/__pycache__").mkdir(parents=True)
    (tmp_path / "boot.py").write_text("# boot")
    (tmp_path / "main.py").write_text("# main")
    (tmp_path / "lib/muster/agent.py").write_text("# agent")
    (tmp_path / "lib/muster/notes.txt").write_text("not for the board")
    (tmp_path / "lib/muster/__pycache__/agent.cpython-311.pyc").write_bytes(b"\0")
    (tmp_path / "box.pem").write_bytes(root)
    der = x509.load_pem_x509_certificate(root).public_bytes(Encoding.DER)

    files = board_files(
        {"productKey": "秘"}, {"pem": root, "der": der, "path": tmp_path / "box.pem"}, root=tmp_path
    )
    assert sorted(files) == [
        "/boot.py",
        "/config.json",
        "/lib/muster/agent.py",
        "/main.py",
        "/roots/der.der",
        "/roots/path.der",
        "/roots/pem.der",
    ]
    assert {files[f"/roots/{name}.der"] for name in ("der", "path", "pem")} == {der}
    assert json.loads(files["/config.json"]) == {"productKey": "秘"}

    (tmp_path / "config.json").write_text('{"a": 1}')
    files = board_files(tmp_path / "config.json", [tmp_path / "box.pem"], root=tmp_path)
    assert files["/config.json"] == b'{"a": 1}'
    assert files["/roots/box.der"] == der


def test_a_root_that_is_no_certificate_is_a_sentence(tmp_path):
    (tmp_path / "boot.py").write_text("")
    (tmp_path / "main.py").write_text("")
    with pytest.raises(ValueError, match="the CA root 'nonsense' is not a certificate"):
        board_files({}, {"nonsense": b"nonsense"}, root=tmp_path)
