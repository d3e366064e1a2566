"""What the box writes for those who call it: a profile for fleet, what Coze() takes, and AI tokens."""

import csv
import itertools
import json
import os
import re

import pytest
import requests
from click.testing import CliRunner
from muster import http
from muster.clouds.chinamobile import ChinaMobile
from muster.clouds.coze import Coze

from tools.cli.cloud import EXAMPLE_CHANNEL, keep_accounts
from tools.cli.main import main
from tools.cloud import Cloud, Device
from tools.fleet.accounts import account

journals = itertools.count()
DEVICE = Device("1234567890123", "toy-key", "SN", "AI-0001")


def fleet(command, file, profile, *options):
    journal = file.with_name(f"{file.name}-{next(journals)}")
    arguments = ["fleet", command, str(file), "--profile", str(profile), "--journal", str(journal), *options]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return done


def test_fleet_works_with_the_profile_as_it_is_and_after_a_restart(tmp_path):
    data = tmp_path / "data"
    devices, laptops, bound = (tmp_path / f"{name}.csv" for name in ("devices", "laptops", "bound"))
    ports = set()
    for start in range(2):
        devices.write_text(f"ak,sk\nak-{start},sk-0123456789-{start}\n")
        head = "device_system,device_ownership,device_status,serial_number,mac_address"
        laptops.write_text(f"{head}\n1,2,1,S-{start},AC-DE-48-00-11-21\n")
        bound.write_text(f"label,value\nSpeaker,AI-{start}\n")
        with Cloud(data=data) as cloud:
            ports.add(cloud.url)
            maker, *_ = keep_accounts(cloud)
            fleet("import", devices, maker)
            fleet("register", laptops, maker)
            fleet("bind", bound, maker, "--connector-id", EXAMPLE_CHANNEL)
            state = cloud.state()
            shown = requests.get(cloud.url, {"part": "coze", "find": "ai-1"}, verify=str(cloud.ca_pem)).text
        assert maker.stat().st_mode & 0o077 == 0
        assert len(state["baidu"]["accounts"]) == len(state["feishu"]["apps"]) == 1, "made once"
    assert len(ports) == 2, "the profile was right about both"
    assert state["feishu"]["count"] == 2 and len(state["baidu"]["devices"]) == 2
    assert [device["value"] for device in state["coze"]["channels"][0]["devices"]] == ["AI-0", "AI-1"]
    assert "<b>AI-1</b>" in shown and "Speaker" in shown and "AI-0" not in shown
    # A fresh box has the same channel and another app: what was bound in this one is not bound there.
    channel = (EXAMPLE_CHANNEL, "device_id", None)
    scope = account("coze", maker, channel).scope
    maker.write_text(re.sub("client_id = .*", 'client_id = "another"', maker.read_text()))
    assert account("coze", maker, channel).scope != scope


def test_an_ai_token_for_every_product_and_what_coze_takes(tmp_path):
    tokens = []
    for _ in range(2):
        with Cloud([DEVICE, Device("9876543210987", "other", "SN", "AI-1")], data=tmp_path) as cloud:
            _, file, coze = keep_accounts(cloud)
            tokens.append({row["productId"]: row["token"] for row in csv.DictReader(file.open())})
            with http.Session(str(cloud.ca_pem)) as session:
                platform = ChinaMobile(DEVICE.product_id, DEVICE.product_key, session, cloud.url, cloud.url)
                device_id = platform.secret_info(DEVICE.device_no)["deviceId"]
                assert "".join(platform.chat(tokens[0][DEVICE.product_id], device_id, "你好"))
                assert Coze(session, device_id="AI-1", **json.loads(coze.read_text())).access_token()
        assert file.stat().st_mode & 0o077 == coze.stat().st_mode & 0o077 == 0
    assert tokens[0] == tokens[1] and set(tokens[0]) == {"1234567890123", "9876543210987"}


@pytest.mark.parametrize("text", ["", "{", "ca = 'ca.pem'\n[baidu]\n"])
def test_a_damaged_profile_is_named_and_left_alone(tmp_path, text):
    maker = tmp_path / "maker.toml"
    maker.touch(mode=0o600)
    maker.write_text(text)
    with Cloud(data=tmp_path) as cloud, pytest.raises(ValueError) as raised:
        keep_accounts(cloud)
    assert f"Mend {maker}, or delete it" in str(raised.value)
    assert maker.read_text() == text


def test_a_profile_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    with Cloud(data=tmp_path) as cloud:
        maker, *_ = keep_accounts(cloud)
        before = maker.read_text()

        def full(file):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError):
            keep_accounts(cloud)
    assert maker.read_text() == before
