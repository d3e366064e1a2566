"""A platform, a place for one board, and what is on the board's flash, read as a stranger would."""

from __future__ import annotations

import dataclasses
import json
import struct
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

import requests
from devices import DEVICE, SECRET_INFO, hourly

from tools.board import Board, BoardError
from tools.cloud import Cloud
from tools.factory.product import STATE, board_image

SECOND = dataclasses.replace(DEVICE, device_no="AI-0002")

REPORTED = "muster: reported"
DUE = "muster: the next report is due"
TIMEOUT_S = 30
# Of a device that is always due again by the time it has booted.
RESTLESS = {"period": 1, "deadline": 8}


@dataclasses.dataclass
class Kept:
    """What is on flash: path -> content."""

    files: dict[str, bytes]

    def __post_init__(self) -> None:
        self.credentials = newest(self.files, "credentials")
        self.schedule = newest(self.files, "schedule")

    def waits(self, who: dict) -> bool:
        """Whether that device has nothing to report for a while."""
        parts = sorted(who[key] for key in ("productId", "deviceNoType", "deviceNo"))
        mark, schedule = zlib.crc32("\n".join(parts).encode()), self.schedule
        return (
            self.credentials == who
            and schedule is not None
            and schedule.get("of") == mark
            and schedule["next"] > time.time() + RESTLESS["deadline"]
        )


def newest(files: Mapping[str, bytes], name: str) -> dict | None:
    """The newest whole record of that name on flash: CRC-32, sequence number, length, JSON."""
    found = {}
    for slot in (0, 1):
        raw = files.get(f"{STATE}{name}.{slot}", b"")
        if len(raw) >= 10:
            crc, sequence, length = struct.unpack_from("<IIH", raw)
            if len(raw) >= 10 + length and zlib.crc32(raw[4 : 10 + length]) == crc:
                found[sequence] = json.loads(raw[10 : 10 + length])
    return found[max(found)] if found else None


class Lab:
    """A platform, and a place for one board, which is one of two devices that the platform knows."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud, self.folder = cloud, folder
        self.credentials, self.credentials_of_second = (
            self._ask(device_no) for device_no in (DEVICE.device_no, SECOND.device_no)
        )

    def _ask(self, device_no: str) -> dict:
        """The credentials of a device, as the platform has them."""
        who = {"productId": DEVICE.product_id, "deviceNo": device_no, "deviceNoType": "SN"}
        question = {**who, "productKey": DEVICE.product_key}
        answer = requests.post(self.cloud.url + SECRET_INFO, json=question, verify=self.cloud.ca_pem)
        return {**answer.json()["data"], **who}

    def calls(self, path: str) -> int:
        """How often devices have called."""
        return sum(bool(call["device"]) for call in self.cloud.calls(path))

    def board(self, image: bytes | None = None, cut_at: int | None = None, torn: float = 0) -> Board:
        return Board(self.folder / "board", image, cut_at=cut_at, torn=torn)

    def image(self, before: Mapping | None = None, more: Mapping | None = None, **config: object) -> bytes:
        return board_image(hourly(self.cloud, **config), [self.cloud.ca_pem], before, more)

    def enrolled(self) -> Kept:
        """What a device has on flash that has reported."""
        with self.board(self.image()) as board:
            board.wait_for(REPORTED)
            return Kept(board.files())


def to_prompt(board: Board) -> None:
    """Ends the agent, as a person does."""
    board.write(b"\x03")
    board.wait_for(">>> ")


def lasts(board: Board, what: str) -> bool:
    """Waits for what the board prints. False if the power went instead; BoardError if neither came."""
    try:
        board.wait_for(what, TIMEOUT_S)
    except BoardError:
        if board.running:
            raise
        return False
    return True
