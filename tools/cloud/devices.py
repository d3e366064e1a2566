"""The devices that an operator imports, one by one or from a CSV file."""

import csv
import io
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

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
        path: UTF-8, with or without a byte order mark; the header is
            `productId,productKey,deviceNoType,deviceNo` and, if wanted, `cellular`.

    Raises:
        ValueError: a sentence that names the line and the column.
        OSError: the file cannot be read.
    """
    path = Path(path)
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(f'{path}, line {line}: not UTF-8; save the file as "CSV UTF-8"') from None

    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    devices: dict[tuple[str, str], Device] = {}
    products: dict[str, Device] = {}
    try:
        header = [name.strip() for name in next(rows, [])]
        _check_header(header)
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            device = _device(header, [cell.strip() for cell in cells])
            if (device.product_id, device.device_no) in devices:
                raise ValueError(f"deviceNo {device.device_no!r} is in product {device.product_id!r} already")
            _check_product(device, products.setdefault(device.product_id, device))
            devices[device.product_id, device.device_no] = device
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}, line {max(rows.line_num, 1)}: {error}") from None
    if not devices:
        raise ValueError(f"{path}, line {max(rows.line_num, 1)}: no device follows the header")
    return list(devices.values())


def _check_header(header: list[str]) -> None:
    wanted = [*COLUMNS, "cellular"]
    for column in COLUMNS:
        if column not in header:
            raise ValueError(f"column {column} is missing; the header must be {','.join(wanted)}")
    for column in header:
        if column not in wanted:
            raise ValueError(f"column {column!r} is unknown; the header must be {','.join(wanted)}")
        if header.count(column) > 1:
            raise ValueError(f"column {column} stands there twice")


def _device(header: list[str], cells: list[str]) -> Device:
    if len(cells) != len(header):
        raise ValueError(f"{len(cells)} values for {len(header)} columns ({','.join(header)})")
    row = dict(zip(header, cells, strict=True))
    cellular = row.pop("cellular", "").lower()
    if cellular not in YES_NO:
        raise ValueError(f"cellular must be true or false, not {cellular!r}")
    return Device(**{COLUMNS[column]: value for column, value in row.items()}, cellular=YES_NO[cellular])


def _check_product(device: Device, first: Device) -> None:
    # The key itself stays out of the message: it is a secret.
    if device.product_key != first.product_key:
        raise ValueError(f"productKey is not the one that product {first.product_id!r} has further up")
    if device.cellular != first.cellular:
        raise ValueError(f"cellular is not what product {first.product_id!r} has further up")
