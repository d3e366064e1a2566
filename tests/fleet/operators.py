"""Somebody who gives the operator's commands, and what they find in the clouds in a box."""

import csv
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass

from click.testing import CliRunner, Result
from muster.clouds import baidu

from tools.cli.main import main
from tools.fleet.session import ThreadedSession

COMMANDS = ("import", "list", "show", "enable", "disable", "delete", "register", "bind")
IMPORTS = "/v2/manage/device"
RECORDS = "/open-apis/security_and_compliance/v2/device_records"
FEISHU = ("device_system", "device_ownership", "device_status", "serial_number", "mac_address")
vendors, serials = itertools.count(), itertools.count()


@dataclass
class Done:
    """A command that was given: what came of it, and how many calls it made to the box."""

    result: Result
    calls: int

    def __getattr__(self, name):
        return getattr(self.result, name)

    @property
    def json(self):
        return json.loads(self.result.stdout)


class FleetOperator:
    """Somebody with a folder, a profile in it, and accounts of their own with every cloud."""

    def __init__(self, box, folder, quota=100_000, per_second=10):
        self.box, self.folder = box, folder
        self.fc, self.channel = f"fc{next(vendors)}", f"channel-{next(vendors)}"
        self.keys = box.add_baidu_account(self.fc, "pk-1", quota=quota)
        self.app = box.add_feishu_app(per_second=per_second)
        self.client = baidu.Baidu(**self.keys, session=ThreadedSession(str(box.ca_pem)), base_url=box.url)
        box.add_coze_token("pat_binds", may_bind=True)
        box.add_coze_channel(self.channel)
        self.profile = self.write_profile()

    def write_profile(self, **given):
        """A profile with these keys of a cloud in place of the operator's; a cloud's are a dict."""
        keys = {"baidu": self.keys, "feishu": self.app, "coze": {"token": "pat_binds"}, **given}
        text = f"ca = {json.dumps(str(self.box.ca_pem))}\n"
        for cloud in keys:
            lines = [f"{k} = {json.dumps(v)}" for k, v in {"base_url": self.box.url, **keys[cloud]}.items()]
            text += "\n".join([f"[{cloud}]", *lines, ""])
        path = self.folder / "profile.toml"
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def csv(self, name, *rows):
        path = self.folder / name
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
        return path

    def batch(self, count, name="devices.csv"):
        return self.csv(name, ("ak", "sk"), *((f"ak{i:05}", f"sk-secret-{i:05}") for i in range(count)))

    def __call__(self, command, *arguments, **more):
        before = len(self.box.calls())
        done = fleet(command, "--profile", self.profile, *arguments, **more)
        return Done(done, len(self.box.calls()) - before)

    def line(self, command, *arguments):
        """The same as a process's."""
        return [sys.executable, "-m", "tools.cli", "fleet", command, "--profile", self.profile, *arguments]

    def start(self, *arguments):
        pipe = subprocess.PIPE
        return subprocess.Popen(self.line(*arguments), stdout=pipe, stderr=pipe, text=True)

    def devices(self):
        return {device["ak"]: device for device in self.box.baidu_devices() if device["fc"] == self.fc}

    def received(self):
        """How often each of the devices arrived at Baidu's."""
        return {device["received"] for device in self.devices().values()}


def fleet(*arguments, **more):
    done = CliRunner().invoke(main, ["fleet", *map(str, arguments)], **more)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done


def laptops(count):
    series = next(serials)
    return [(1, 2, 1, f"S{os.getpid()}-{series}-{i}", "AC-DE-48-00-11-21") for i in range(count)]


def records(box, rows):
    wanted = {row[3] for row in rows}
    return [record for record in box.feishu_records() if record.get("serial_number") in wanted]
