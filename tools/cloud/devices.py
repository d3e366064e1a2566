"""The devices that an operator imports, one by one or from a CSV file."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tools.common import rows

DEVICE_NO_TYPES = ("SN", "IMEI", "CMEI")
COLUMNS = {
    "productId": "product_id",
    "productKey": "product_key",
    "deviceNoType": "device_no_type",
    "deviceNo": "device_no",
}
YES_NO = {"": False, "0": False, "false": False, "no": False, "1": True, "true": True, "yes": True}


@dataclass(frozen=True)
class Device:
    """One device as it is imported into the platform; `cellular` is its product's kind."""

    product_id: str
    product_key: str
    device_no_type: str
    device_no: str
    cellular: bool = False

    def __post_init__(self) -> None:
        for column, field in COLUMNS.items():
            if not getattr(self, field):
                raise ValueError(f"{column} is empty; every device needs one")
        if self.device_no_type not in DEVICE_NO_TYPES:
            known = ", ".join(DEVICE_NO_TYPES)
            raise ValueError(f"deviceNoType must be one of {known}, not {self.device_no_type!r}")

    def config(self, base_url: str, **more: Any) -> dict[str, Any]:
        """What its config.json has to say to enrol there, and more: it reads the time from answers alone."""
        return {
            "productId": self.product_id,
            "productKey": self.product_key,
            "deviceNo": self.device_no,
            "cmei": "111234560000018",
            "firmwareVersion": "1.0",
            "baseUrl": base_url,
            "ntp": [],
            **more,
        }


def read_devices(path: str | PathLike[str]) -> list[Device]:
    """Reads the devices in a CSV file.

    Args:
        path: see `tools.common.rows` for what is taken; the columns are productId, productKey, deviceNoType,
            deviceNo and, if wanted, cellular.

    Raises:
        ValueError: names the rows that are wrong.
        OSError: the file cannot be read.
    """
    devices: dict[tuple[str, str], Device] = {}
    products: dict[str, Device] = {}

    def take(line: int, row: rows.Row) -> None:
        device = _device(row)
        if (device.product_id, device.device_no) in devices:
            raise ValueError(f"deviceNo {device.device_no!r} is in product {device.product_id!r} already")
        _check_product(device, products.setdefault(device.product_id, device))
        devices[device.product_id, device.device_no] = device

    with Path(path).open("rb") as file:
        rows.read(file, str(path), COLUMNS, ["cellular"], take)
    return list(devices.values())


def _device(row: rows.Row) -> Device:
    cellular = row.get("cellular", "").lower()
    if cellular not in YES_NO:
        raise ValueError(f"cellular must be true or false, not {cellular!r}")
    return Device(**{field: row[column] for column, field in COLUMNS.items()}, cellular=YES_NO[cellular])


def _check_product(device: Device, first: Device) -> None:
    # The key itself stays out of the message: it is a secret.
    if device.product_key != first.product_key:
        raise ValueError(f"productKey is not the one that product {first.product_id!r} has further up")
    if device.cellular != first.cellular:
        raise ValueError(f"cellular is not what product {first.product_id!r} has further up")
