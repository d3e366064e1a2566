"""Somebody who gives the operator's commands, and what they find in the clouds in a box."""

import csv
import itertools
import json
import os
import subprocess
import sys

from click.testing import CliRunner
from muster.clouds import baidu

from tools.cli.main import main
from tools.fleet import session as sessions

COMMANDS = ("import", "enable", "disable", "delete", "register", "bind", "list", "show")
IMPORTS = "/v2/manage/device"
RECORDS = "/open-apis/security_and_compliance/v2/device_records"
vendors = itertools.count()
FEISHU = ("device_system", "device_ownership", "device_status", "serial_number", "mac_address")
serials = itertools.count()


class Operator:
    """Somebody with a folder, a profile in it, and accounts of their own with every cloud."""

    def __init__(self, box, folder, quota=100_000, per_second=10):
        self.box, self.folder = box, folder
        self.fc, self.channel = f"fc{next(vendors)}", f"channel-{next(vendors)}"
        self.keys = box.add_baidu_account(self.fc, "pk-1", quota=quota)
        self.app = box.add_feishu_app(per_second=per_second)
        box.add_coze_token("pat_binds", may_bind=True)
        box.add_coze_channel(self.channel)
        self.profile = self.write_profile()

    def write_profile(self, name="profile.toml", **baidu_keys):
        tables = {
            "baidu": {**self.keys, **baidu_keys},
            "feishu": self.app,
            "coze": {"token": "pat_binds"},
        }
        text = f"ca = {json.dumps(str(self.box.ca_pem))}\n"
        for cloud, keys in tables.items():
            lines = [f"{k} = {json.dumps(v)}" for k, v in {"base_url": self.box.url, **keys}.items()]
            text += "\n".join([f"[{cloud}]", *lines, ""])
        path = self.folder / name
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
        return fleet(command, "--profile", self.profile, *arguments, **more)

    def start(self, command, *arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "tools.cli", "fleet", command, "--profile", self.profile, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def devices(self):
        return {device["ak"]: device for device in self.box.baidu_devices() if device["fc"] == self.fc}


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


def client(operator):
    session = sessions.ThreadedSession(str(operator.box.ca_pem))
    return baidu.Baidu(**operator.keys, session=session, base_url=operator.box.url)
