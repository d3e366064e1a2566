"""Files with keys stay out of git, and a person is told of one that is in it."""

import json
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from tools.cli.main import main
from tools.common.paths import ROOT

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git here")

# What the commands of the README write or ask for.
SECRET = (
    "config.json", "toys/config.json", "coze.json", "maker.toml", "key.pem", "release.pem", "devices.csv",
    "batch.csv", "batch.csv.boards", "batch.csv.last", ".batch.csv.lock", ".batch.csv.boards.lock",
    "keys.csv", "cloud/ca.key", "cloud/cloud.sqlite3", "cloud/ai-tokens.csv",
    "muster.img", "flash.bin", "labels.pdf", "batch-labels.pdf", "toys/labels.pdf", "keys/release.pem",
    "toys.journal", "toys.journal-wal",
)  # fmt: skip
PUBLIC = (
    "tools/factory/labels.py",
    "firmware/roots/digicert.pem",
    "keys/release.pub.pem",
    "chinamobile.json",
    "firmware/setup.html",
)


def git(folder, *words):
    return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with a product's configuration and a batch in it, where the command is given."""
    product = {"productId": "1", "productKey": "k3y", "firmwareVersion": "1", "setup": {"name": "toy"}}
    (tmp_path / "config.json").write_text(json.dumps(product))
    (tmp_path / "batch.csv").write_text("deviceNo,cmei,setup.key\nA-1,111234560000011,ABCDE23456\n")
    git(tmp_path, "init")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_git_ignores_what_holds_keys_and_nothing_of_the_project(repository):
    shutil.copy(ROOT / ".gitignore", repository)
    ignored = git(repository, "check-ignore", *SECRET, *PUBLIC).stdout.split()
    assert ignored == list(SECRET)


@pytest.mark.parametrize(
    ("typed", "file"),
    [
        ("labels batch.csv --config config.json -o labels.pdf", "config.json"),
        ("labels batch.csv --config config.json -o labels.pdf", "batch.csv"),
        ("labels batch.csv --config config.json -o labels.pdf", "labels.pdf"),
        ("identities --count 1 --append -o batch.csv", "batch.csv"),
        ("identities --count 1 --earlier batch.csv -o next.csv", "batch.csv"),
        ("image --config config.json -o :toy.img", ":toy.img"),
        ("image --config config.json", "muster.img"),
        ("flash --config config.json --identities batch.csv --port /dev/none", "batch.csv"),
        ("deploy --config config.json --port /dev/none", "config.json"),
        ("board --config config.json --setup --data board --vm cpython --board NONE", "config.json"),
        ("admit --config config.json --identities batch.csv --roots none", "batch.csv"),
        ("fleet enable batch.csv --journal toys.journal --dry-run", "toys.journal"),
        ("release key -o release.pem", "release.pem"),
        ("release rollout . 5 --key config.json", "config.json"),
    ],
)
def test_a_command_that_writes_or_reads_one_that_git_has_warns(repository, typed, file):
    def warned():
        done = CliRunner().invoke(main, typed.split())
        assert "k3y" not in done.output and "Traceback" not in done.output
        return [line for line in done.stderr.splitlines() if line.startswith("Warning: git tracks ")]

    assert not warned()
    written = repository / file
    written.exists() or written.touch()
    git(repository, "--literal-pathspecs", "add", "--", file)
    if file == "release.pem":  # which no command writes over
        written.unlink()
    [warning] = warned()
    assert warning.startswith(f"Warning: git tracks {file}, which holds keys")
    assert f"git rm --cached {file}." in warning
