"""Files that must not be lost, half written or read by others."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from tools.common import files
from tools.common.paths import ROOT


def test_it_is_for_its_owner_and_replaces_what_a_link_leads_to(tmp_path):
    (tmp_path / "file").write_bytes(b"older")
    (tmp_path / "file").chmod(0o644)
    (tmp_path / "link").symlink_to("file")
    files.write(tmp_path / "link", "sécret")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == "sécret".encode()
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    files.write(tmp_path / "file", b"for all", mode=0o644)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_a_full_disk_leaves_what_was_there_and_is_said(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "file").write_bytes(b"older")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"/file cannot be written: No space left on device$"):
        files.write(tmp_path / "file", b"secret")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]


def test_a_pipe_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.write(tmp_path / "pipe", b"secret")
    assert os.read(reader, 100) == b"secret"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_lock_is_held_against_this_process_and_others_until_it_is_let_go(tmp_path):
    path = tmp_path / "file"
    program = "import sys, pathlib; from tools.common import files\n"
    program += "files.lock(pathlib.Path(sys.argv[1])).acquire(timeout=0)"
    other = [sys.executable, "-c", program, str(path)]
    with files.lock(path):
        with pytest.raises(TimeoutError):
            files.lock(path).acquire(timeout=0)
        assert b"Timeout" in subprocess.run(other, cwd=ROOT, capture_output=True).stderr
    assert subprocess.run(other, cwd=ROOT).returncode == 0
