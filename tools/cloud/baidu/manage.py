"""Import, delete, disable, enable, show and list devices (设备管理API)."""

import csv
import re
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .. import answers
from ..codes import BaiduCode
from ..refusals import Refused, sentence
from ..state import Remembered, State
from ..strict import content_type
from .signature import Account, parameters

PATH = "/v2/manage/device"
LARGEST_IMPORT = 1000
LARGEST_PAGE = 1000  # not in the document
FAULTS_TOLD = 3


class Lenient(BaseModel):
    """What it does not know it ignores: "对于所有无法识别的项应直接忽略"."""

    model_config = ConfigDict(strict=True)


class ImportBody(Lenient):
    fc: str = ""
    pk: str = ""
    devices: list[str]


Number = Annotated[int, BeforeValidator(lambda text: int(text) if re.fullmatch("[0-9]{1,9}", text) else text)]


class Listing(Lenient):
    fc: str = ""
    pk: str = ""
    state: Literal["NOT_ACTIVE", "ACTIVATED", "BAN"] | None = None
    order: Annotated[Literal["desc", "asc"], BeforeValidator(str.lower)] = "desc"
    pageNo: Annotated[Number, Field(ge=1)] = 1
    pageSize: Annotated[Number, Field(ge=1, le=LARGEST_PAGE)] = 10


router = APIRouter(prefix=PATH, dependencies=[content_type("application/json; charset=utf-8")])


def _check_product(state: State, account: dict[str, Any], fc: str, pk: str) -> None:
    if not fc:
        raise Refused(code=BaiduCode.NO_FC)
    if not pk:
        raise Refused(code=BaiduCode.NO_PK)
    owner = state.baidu.owner(fc)
    if owner is None:
        raise Refused(code=BaiduCode.FC_NOT_FOUND)
    if owner != account["access_key_id"]:
        raise Refused("This fc is another account's.", "AccessDenied")
    if pk != account["pk"]:
        raise Refused(code=BaiduCode.PK_NOT_FOUND)


async def _named(request: Request, state: Remembered, account: Account) -> dict[str, Any]:
    """The device that the path names."""
    fc, pk, ak = _path(request)
    request.state.device = ak
    _check_product(state, account, fc, pk)
    device = state.baidu.device(account, ak)
    if device is None:
        raise Refused(code=BaiduCode.NOT_FOUND)
    return device


Named = Annotated[dict[str, Any], Depends(_named)]


@router.post("")
async def import_devices(request: Request, state: Remembered, account: Account) -> Response:
    body = _body(await request.body())
    count = len(body.devices)
    request.state.device = f"{count} device{'s' * (count != 1)}"
    _check_product(state, account, body.fc, body.pk)
    if count == 0:
        raise Refused(code=BaiduCode.EMPTY)
    if count > LARGEST_IMPORT:
        raise Refused(code=BaiduCode.TOO_MANY)
    code = state.baidu.import_devices(account, _pairs(body.devices))
    if code != BaiduCode.OK:
        raise Refused(code=code)
    return answers.baidu({"code": BaiduCode.OK, "message": ""})


@router.get("")
async def list_devices(request: Request, state: Remembered, account: Account) -> Response:
    try:
        asked = Listing.model_validate(parameters(request))
    except ValidationError as error:
        raise Refused(sentence(error.errors(), 0) + ".", "InvalidURI") from None
    _check_product(state, account, asked.fc, asked.pk)
    total, devices = state.baidu.page(account, asked.state, asked.order, asked.pageNo, asked.pageSize)
    content = {
        "totalCount": total,
        "result": devices,
        "pageNo": asked.pageNo,
        "pageSize": asked.pageSize,
        "fc": account["fc"],
        "fcName": account["fc_name"],
        "pk": account["pk"],
        "devSku": account["dev_sku"],
        "orderBy": "createTime",
        "order": asked.order,
    }
    return answers.baidu({**content, "state": asked.state} if asked.state else content)


# A path, because an ak may hold a slash; _path() tells an encoded one from a plain one.
@router.get("/{fc}/{pk}/{ak:path}")
async def get(device: Named) -> Response:
    return answers.baidu(device)


@router.delete("/{fc}/{pk}/{ak:path}")
async def delete(state: Remembered, device: Named) -> Response:
    state.baidu.delete(device)
    return answers.baidu({"result": "OK"})


@router.put("/{fc}/{pk}/{ak:path}/disable")
async def disable(state: Remembered, device: Named) -> Response:
    state.baidu.ban(device, True)
    return answers.baidu({"result": "OK"})


@router.put("/{fc}/{pk}/{ak:path}/enable")
async def enable(state: Remembered, device: Named) -> Response:
    state.baidu.ban(device, False)
    return answers.baidu({"result": "OK"})


def _path(request: Request) -> list[str]:
    """fc, pk and ak: the parts of the path as it arrived, decoded one by one."""
    parts = request.scope["raw_path"].decode("ascii").removeprefix(PATH + "/").split("/")
    if request.method == "PUT":
        parts.pop()
    if len(parts) != 3:
        raise Refused("It must be /:fc/:pk/:ak, each percent-encoded.", "InvalidURI")
    return [unquote(part) for part in parts]


def _body(raw: bytes) -> ImportBody:
    try:
        return ImportBody.model_validate_json(raw.decode())
    except UnicodeDecodeError:
        raise Refused("It is not UTF-8.", "InvalidHTTPRequest") from None
    except ValidationError as error:
        faults = error.errors()
    if faults[0]["type"] == "json_invalid":
        raise Refused(code="MalformedJSON")
    raise Refused(sentence(faults[:FAULTS_TOLD], 0) + ".", "InappropriateJSON")


def _pairs(rows: list[str]) -> list[tuple[str, str]]:
    """ak and sk of each row. The rows are not quoted: they hold keys."""
    pairs = []
    for place, row in enumerate(rows, 1):
        try:
            ((ak, sk),) = csv.reader([row], strict=True)
        except (ValueError, csv.Error):
            ak = sk = ""
        if not ak or not sk:
            raise Refused(f"Row {place} must be ak,sk.", BaiduCode.BAD_ROW)
        pairs.append((ak, sk))
    return pairs
