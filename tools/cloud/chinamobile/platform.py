"""China Mobile's terminal-agent service platform: secret fetch and heartbeat.

Follows 终端智能体服务管理平台设备接入协议 V1.0 of 2025/5/13, strictly: a field that is missing, unknown
or of another type or form is refused, and the refusal says which.
"""

import ipaddress
import re
import secrets
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Request
from pydantic import AfterValidator, Field

from ..notation import beijing
from ..refusals import Refused
from ..state import Remembered, State
from ..strict import JSON, Strict, Text, form

ERROR = "500"  # the document's only code for what is refused


def _imei(value: str) -> str:
    if value and not re.fullmatch(r"[0-9]{15}", value):
        raise ValueError(f'must be 15 digits or "", not {value!r}')
    if value.startswith("11"):
        raise ValueError(f"starts with 11, so {value} is a CMEI and no IMEI")
    # Luhn: every second digit counts twice, and its own digits are added up.
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(value)]
    if sum(digit // 10 + digit % 10 for digit in doubled) % 10:
        raise ValueError(f"ends with a wrong check digit: {value}")
    return value


# ip_address() says what is no address.
Ip = Annotated[str, AfterValidator(lambda text: ipaddress.ip_address(text) and text)]
DeviceIp = Annotated[Ip | None, Header(alias="X-AI-IP")]


class SecretInfo(Strict):
    deviceNoType: Literal["SN", "IMEI", "CMEI"]
    deviceNo: Text
    productId: Text
    productKey: Text


class Params(Strict):
    innerIp: Annotated[list[Ip], Field(min_length=1)]
    netSpeed: Annotated[str, form(r"[0-9]+(\.[0-9]+)?[KMG]?bps", "0Mbps")]
    netType: Text
    platform: Text
    sdkVersion: Annotated[str, form(r"ai_.+", "ai_http_1.0")]
    firmwareVersion: Text
    imei: Annotated[str, AfterValidator(_imei)]
    cmei: Annotated[str, form(r"(11[0-9]{13})?", '111234560000018 or ""')]
    mac: Annotated[str, form(r"(([0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2})?", '50-5A-65-51-82-13 or ""')]


class ReportBody(Strict):
    deviceId: Text
    deviceSecret: Text
    productId: Text
    productKey: Text
    params: Params


router = APIRouter(prefix="/v2/customer/device", dependencies=[JSON])


@router.post("/secret/info")
async def secret_info(
    body: SecretInfo, request: Request, state: Remembered, device_ip: DeviceIp = None
) -> dict[str, Any]:
    _product(state, body.productId, body.productKey)
    device = state.products.device(body.productId, body.deviceNo)
    if device is None:
        raise Refused(f"设备不存在: deviceNo {body.deviceNo!r} was not imported into this product", ERROR)
    request.state.device = body.deviceNo
    known = device["device_no_type"]
    if known != body.deviceNoType:
        raise Refused(f"设备不存在: deviceNoType of this device is {known}, not {body.deviceNoType}", ERROR)
    state.products.secret_fetched(device["device_id"])
    return _success(
        deviceId=device["device_id"],
        deviceNo=device["device_no"],
        productId=device["product_id"],
        deviceSecret=device["device_secret"],
    )


@router.post("/report")
async def report(
    body: ReportBody, request: Request, state: Remembered, device_ip: DeviceIp = None
) -> dict[str, Any]:
    product = _product(state, body.productId, body.productKey)
    device = state.products.device_with_id(body.productId, body.deviceId)
    if device is None:
        raise Refused("设备不存在: no device of this product has this deviceId", ERROR)
    request.state.device = device["device_no"]
    if not _same(device["device_secret"], body.deviceSecret):
        raise Refused("设备密钥错误: deviceSecret is not this device's", ERROR)
    state.products.reported(body.deviceId, body.params.model_dump())
    return _success(deviceId=body.deviceId, protocolTypeTime=beijing(product["since"]))


def _product(state: State, product_id: str, product_key: str) -> dict[str, Any]:
    # Neither is quoted: who mixes the two up would find the key in the log.
    product = state.products.product(product_id)
    if product is None:
        raise Refused("产品不存在: no product has this productId", ERROR)
    if not _same(product["product_key"], product_key):
        raise Refused("产品秘钥错误: productKey is not this product's", ERROR)
    return product


def _same(known: str, given: str) -> bool:
    return secrets.compare_digest(known.encode(), given.encode())


def _success(**data: str) -> dict[str, Any]:
    return {"code": "200", "message": "成功", "success": True, "data": data}
