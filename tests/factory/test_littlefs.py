"""LittleFS images, judged by littlefs-python and by the VM that mounts them."""

import datetime
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from littlefs import LittleFS
from littlefs.context import UserContext

from tools.board import Board
from tools.common import littlefs
from tools.common.littlefs import BLOCK, Blocks, build, read, read_blocks, used
from tools.common.vm import find_micropython
from tools.factory.product import BLOCKS

BUILT = int(datetime.datetime(2025, 11, 20, 8, 30, tzinfo=datetime.timezone.utc).timestamp())
FILES = {
    "/boot.py": b"",
    "/config.json": b"{}",
    "/lib/muster/clouds/coze.py": b"# " + b"x" * 9000,
    "/main.py": b"print('main')\n",
}


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
    with Board(tmp_path, build({**FILES, "/main.py": look}, BLOCKS, BUILT)) as board:
        board.wait_for("looked")
        printed = board.output.splitlines()
        board.cut_power()
        files = board.files()
    assert f"/config.json 2 {BUILT}" in printed
    assert f"/lib/muster/clouds/coze.py 9002 {BUILT}" in printed
    assert f"/main.py {len(look)} {BUILT}" in printed
    assert "['clouds'] (4096, 4096, 512)" in printed
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


def test_what_is_written_is_all_that_a_mount_looks_at_whatever_was_there_before():
    before = build({f"/lib/muster/{n}.py": bytes([n]) * 5000 for n in range(40)}, 128, BUILT + 99)
    image = build(FILES, 128, BUILT)
    flash = bytearray(before)
    for offset, content in used(image):
        flash[offset : offset + len(content)] = content
    assert read(bytes(flash)) == FILES
    assert sum(len(content) for _, content in used(image)) < len(image) / 4


def test_a_folder_is_read_without_fetching_the_rest():
    image = build({"/state/credentials.0": b"kept", "/big": b"x" * 60 * BLOCK}, 128, BUILT)
    fetched = []

    def fetch(block):
        fetched.append(block)
        return image[block * BLOCK : (block + 1) * BLOCK]

    assert read_blocks(Blocks(fetch), 128, "/state/") == {"/state/credentials.0": b"kept"}
    assert len(fetched) == len(set(fetched)) < 8
    assert read_blocks(Blocks(fetch), 128, "/none/") == {}


def test_a_block_that_cannot_be_fetched_is_no_empty_file_system():
    image = build({"/state/credentials.0": b"kept"}, 128, BUILT)
    for broken in range(2, 128):

        def fetch(block, broken=broken):
            if block == broken:
                raise OSError("the cable")
            return image[block * BLOCK : (block + 1) * BLOCK]

        try:
            assert read_blocks(Blocks(fetch), 128, "/state/") == {"/state/credentials.0": b"kept"}
        except OSError as e:
            assert str(e) == "the cable"
            break
    else:
        raise AssertionError("no block was needed")


def test_a_directory_is_a_list_of_its_files_and_not_the_log_of_how_they_came():
    # A board reads all of a log for each name that it looks up, six times for a module.
    image = build({f"/lib/{n:02}.mpy": bytes(3000) for n in range(20)}, 64, BUILT)
    fetched = []

    def fetch(piece):
        fetched.append(piece)
        return image[piece * 128 : (piece + 1) * 128]

    read_blocks(Blocks(fetch, 128), 64, "/lib/nothing")
    assert len(fetched) < 16


def test_ctrl_c_spoils_no_image(monkeypatch):
    files = {"/a": b"a", "/b": b"b"}
    real = littlefs._compact

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        real(*arguments)
        finished.append(True)

    finished = []
    monkeypatch.setattr(littlefs, "_compact", interrupted)
    with pytest.raises(KeyboardInterrupt):
        littlefs.build(files, 16, 0)
    assert finished
    with ThreadPoolExecutor(1) as pool:  # in any thread
        monkeypatch.setattr(littlefs, "_compact", real)
        assert littlefs.read(pool.submit(littlefs.build, files, 16, 0).result()) == files


def test_ctrl_c_while_a_block_is_fetched_is_heard():
    def fetch(block):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        littlefs.read_blocks(littlefs.Blocks(fetch), 16)
