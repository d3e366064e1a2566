"""Creating a device record (新增设备)."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import Field

from ..state import State
from ..strict import Refused, Strict, Text, bearer, form, route
from . import answer

PATH = "/open-apis/security_and_compliance/v2/device_records"

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
            raise Refused("It must be from 1 to 6.", answer.BAD_SYSTEM)
        wanted = FEATURES[self.device_system]
        given = self.model_dump(exclude_none=True)
        beside = {"device_system", "device_ownership", "device_status"}
        if wanted == COMPUTER:
            beside.add("mac_address")
        foreign = ", ".join(sorted(set(given) - beside - set(wanted)))
        if foreign:
            raise Refused(f"Not of system {self.device_system}: {foreign}.", answer.BAD_FEATURES)
        found = {name: given[name] for name in wanted if name in given}
        if not found:
            needed = " or ".join(wanted)
            raise Refused(f"System {self.device_system} needs {needed}.", answer.BAD_FEATURES)
        return found


def router(state: State) -> APIRouter:
    routes = APIRouter(route_class=route(answer.refusal))

    async def app(authorization: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        given = bearer(authorization)
        if given is None:
            raise Refused("", answer.NO_TOKEN)
        found = state.feishu.app_with_token(given)
        if found is None:
            raise Refused("", answer.BAD_TOKEN)
        if answer.SCOPE not in found["scopes"].split():
            raise Refused("", answer.NO_SCOPE)
        if not state.feishu.count(found):
            raise Refused("", answer.TOO_FAST)
        return found

    @routes.post(PATH, dependencies=[Depends(app)])
    async def create(body: Record, request: Request) -> Response:
        features = body.features()
        request.state.device = next(iter(features.values()))
        record_id = state.feishu.create(body.model_dump(exclude_none=True), features)
        if record_id is None:
            raise Refused("", answer.EXISTS)
        return answer.success(data={"device_record_id": record_id})

    return routes
