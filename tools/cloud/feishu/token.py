"""A tenant access token for an app of the tenant's own (tenant_access_token/internal)."""

import secrets

from fastapi import APIRouter, Request, Response

from .. import answers
from ..codes import FeishuCode
from ..refusals import Refused
from ..state import Remembered
from ..strict import Strict, Text


class Credentials(Strict):
    app_id: Text
    app_secret: Text


router = APIRouter(strict_content_type=False)  # Feishu's own SDK names no Content-Type here


@router.post("/open-apis/auth/v3/tenant_access_token/internal")
async def token(body: Credentials, request: Request, state: Remembered) -> Response:
    app = state.feishu.app(body.app_id)
    if app is None:
        raise Refused("app id not exists", FeishuCode.APP_REFUSED)
    request.state.device = body.app_id
    if not secrets.compare_digest(app["app_secret"].encode(), body.app_secret.encode()):
        raise Refused("app secret invalid", FeishuCode.APP_REFUSED)
    given, expire = state.feishu.token_for(app)
    return answers.feishu("ok", tenant_access_token=given, expire=expire)
