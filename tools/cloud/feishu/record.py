"""Creating a device record (新增设备)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from .. import answers
from ..codes import FEISHU_SCOPE, FeishuCode
from ..refusals import Refused
from ..state import Remembered
from ..strict import JSON, Bearer, Strict, Text, form

# What makes a device of each system known; the examples show no other field with it. A MAC may
# stand beside a computer's, but no example has it alone: our reading.
COMPUTER = ("serial_number", "disk_serial_number", "uuid")
FEATURES = {
    1: COMPUTER,
    2: COMPUTER,
    3: COMPUTER,
    4: ("android_id",),
    5: ("idfv",),
    6: ("aaid",),
}

OneOfThree = Annotated[int, Field(ge=0, le=2)]  # no Literal: True would be 1 there


class Record(Strict):
    device_system: int
    serial_number: Text | None = None
    disk_serial_number: Text | None = None
    uuid: Text | None = None
    mac_address: Annotated[str, form("([0-9a-f]{2}:){5}[0-9a-f]{2}", "ac:de:48:00:11:21")] | None = None
    android_id: Text | None = None
    idfv: Text | None = None
    aaid: Text | None = None
    device_ownership: OneOfThree
    device_status: OneOfThree

    def features(self) -> dict[str, str]:
        """What it is known by."""
        if self.device_system not in FEATURES:
            raise Refused("It must be from 1 to 6.", FeishuCode.BAD_SYSTEM)
        wanted = FEATURES[self.device_system]
        given = self.model_dump(exclude_none=True)
        beside = {"device_system", "device_ownership", "device_status"}
        if wanted == COMPUTER:
            beside.add("mac_address")
        foreign = ", ".join(sorted(set(given) - beside - set(wanted)))
        if foreign:
            raise Refused(f"Not of system {self.device_system}: {foreign}.", FeishuCode.BAD_FEATURES)
        found = {name: given[name] for name in wanted if name in given}
        if not found:
            needed = " or ".join(wanted)
            raise Refused(f"System {self.device_system} needs {needed}.", FeishuCode.BAD_FEATURES)
        return found


async def _app(state: Remembered, bearer: Bearer = None) -> None:
    """Refuses an app that may not create records, or not so many."""
    if bearer is None:
        raise Refused(code=FeishuCode.NO_TOKEN)
    app = state.feishu.app_with_token(bearer)
    if app is None:
        raise Refused(code=FeishuCode.BAD_TOKEN)
    if FEISHU_SCOPE not in app["scopes"].split():
        raise Refused(code=FeishuCode.NO_SCOPE)
    if not state.feishu.count(app):
        raise Refused(code=FeishuCode.TOO_FAST)


router = APIRouter(dependencies=[JSON, Depends(_app)])


@router.post("/open-apis/security_and_compliance/v2/device_records")
async def create(body: Record, request: Request, state: Remembered) -> Response:
    features = body.features()
    request.state.device = next(iter(features.values()))
    record_id = state.feishu.create(body.model_dump(exclude_none=True), features)
    if record_id is None:
        raise Refused(code=FeishuCode.EXISTS)
    return answers.feishu(data={"device_record_id": record_id})
