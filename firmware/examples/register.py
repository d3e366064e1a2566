# An operator's script: tells the three clouds of a small batch, from a laptop. For large ones there is
# fleet.
#
#     PYTHONPATH=lib .venv/bin/python firmware/examples/register.py batch.csv accounts.json
#
# batch.csv is what identities wrote; of its columns, deviceNo counts here. accounts.json holds, for each
# cloud that shall know the devices, what its class takes: "baidu" access_key_id, secret_access_key, fc and
# pk, "feishu" app_id and app_secret, "coze" a token, and connector_id of the channel. Whoever reads it can
# do all this: chmod 600.

import csv
import json
import secrets
import sys

from muster import Error, http
from muster.clouds.baidu import Baidu
from muster.clouds.coze import Coze
from muster.clouds.feishu import Feishu

COMPUTER, COMPANY, TRUSTED = 3, 2, 1  # Feishu's device_system, device_ownership and device_status


def to_baidu(session, account, numbers):
    """Each device gets an sk of its own, which is on disk before Baidu has it."""
    pairs = [(number, secrets.token_hex(16)) for number in numbers]
    with open("baidu.csv", "x", newline="") as f:
        csv.writer(f).writerows([("ak", "sk"), *pairs])
    Baidu(session=session, **account).import_devices(pairs)
    print(f"Baidu has {len(pairs)} devices; their keys are in baidu.csv")


def to_feishu(session, account, numbers):
    feishu = Feishu(session, **account)
    for number in numbers:
        print("Feishu:", number, "is", feishu.create_device(COMPUTER, COMPANY, TRUSTED, serial_number=number))


def to_coze(session, account, numbers):
    channel = account.pop("connector_id")
    Coze(session, **account).bind_devices(channel, [(number, number) for number in numbers])
    print(f"Coze has bound {len(numbers)} devices")


def main(batch, accounts):
    with open(batch, newline="") as f:
        numbers = [row["deviceNo"] for row in csv.DictReader(f)]
    with open(accounts) as f:
        given = json.load(f)
    with http.Session(given.get("ca")) as session:
        for cloud, register in (("baidu", to_baidu), ("feishu", to_feishu), ("coze", to_coze)):
            if cloud in given:
                register(session, given[cloud], numbers)


try:
    main(*sys.argv[1:])
except (Error, OSError, ValueError) as e:
    sys.exit(f"stopped: {e}")
