"""Files that hold secrets."""

import errno
import os
import stat

import pytest

from tools.common import files as private


def test_it_is_for_its_owner_and_replaces_what_a_link_leads_to(tmp_path):
    (tmp_path / "file").write_bytes(b"older")
    (tmp_path / "file").chmod(0o644)
    (tmp_path / "link").symlink_to("file")
    private.write(tmp_path / "link", b"secret")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"secret"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_full_disk_leaves_what_was_there_and_is_said(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "file").write_bytes(b"older")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"/file cannot be written: No space left on device$"):
        private.write(tmp_path / "file", b"secret")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]


def test_a_pipe_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    private.write(tmp_path / "pipe", b"secret")
    assert os.read(reader, 100) == b"secret"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
