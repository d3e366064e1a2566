"""The box's Feishu, judged by Feishu's own SDK."""

import importlib.util
import secrets
import sys
import types

import pytest


@pytest.fixture(scope="module")
def sdk():
    """What the SDK's Client is made of for this service, imported late: few who collect it run it."""
    # The packages' own __init__ would import some sixty services: ten thousand files, and seconds.
    for package in ("lark_oapi", "lark_oapi.api"):
        sys.modules[package] = importlib.util.module_from_spec(importlib.util.find_spec(package))
    from lark_oapi.api.security_and_compliance import service, v2
    from lark_oapi.core import exception, model

    return types.SimpleNamespace(service=service, v2=v2, exception=exception, model=model)


@pytest.fixture
def create(sdk, cloud, monkeypatch):
    # The SDK calls requests, without an argument for the roots.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cloud.ca_pem))

    def create(app, **fields):
        config = sdk.model.Config()
        config.domain, config.timeout = cloud.url, 10
        config.app_id, config.app_secret = app["app_id"], app["app_secret"]
        body = sdk.v2.CreateDeviceRecordRequestBody(fields)
        request = sdk.v2.CreateDeviceRecordRequest.builder().request_body(body).build()
        return sdk.service.SecurityAndComplianceService(config).v2.device_record.create(request)

    return create


def computer(**changed):
    known = {"device_system": 3, "serial_number": secrets.token_hex(8), "mac_address": "ac:de:48:00:11:21"}
    return {**known, "device_ownership": 2, "device_status": 1, **changed}


def test_creates_records(cloud, create):
    app, device = cloud.add_feishu_app(), computer()
    answer = create(app, **device)
    assert answer.success() and (answer.code, answer.msg) == (0, "success")
    (record,) = cloud.feishu_records()
    assert record["device_record_id"] == str(answer.data.device_record_id)
    assert {name: record[name] for name in device} == device

    again = create(app, **device)
    assert not again.success() and again.code == 1785010 and again.data is None
    assert again.raw.status_code == 400 and again.get_log_id()
    for system, name in (1, "uuid"), (4, "android_id"), (5, "idfv"), (6, "aaid"):
        fields = {"device_system": system, name: secrets.token_hex(8)}
        assert create(app, **fields, device_ownership=0, device_status=0).success()
    assert create(app, **computer(device_system=0)).code == 1785007
    assert create(app, **computer(serial_number=None)).code == 1785005
    assert create(app, **computer(device_status=3)).code == 1780101
    tokens = [call for call in cloud.calls() if "tenant_access_token" in call["path"]]
    assert len(tokens) == 1, "the SDK keeps it"


def test_too_fast_and_not_allowed(cloud, clock, create):
    app = cloud.add_feishu_app(per_second=1)
    answers = [create(app, **computer()) for _ in range(3)]
    assert answers[0].success() and {answer.code for answer in answers[1:]} == {99991400}
    assert answers[1].raw.status_code == 429 and answers[1].raw.headers["x-ogw-ratelimit-reset"] == "1"
    refused = create(cloud.add_feishu_app(scopes=()), **computer())
    assert refused.code == 99991672 and refused.raw.status_code == 400


def test_another_secret_is_refused(sdk, cloud, create):
    app = cloud.add_feishu_app()
    with pytest.raises(sdk.exception.ObtainAccessTokenException, match="app secret invalid"):
        create({**app, "app_secret": "another"}, **computer())
