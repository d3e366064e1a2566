"""A tenant access token for an app of the tenant's own (tenant_access_token/internal)."""

import secrets

from fastapi import APIRouter, Request, Response

from ..state import State
from ..strict import Refused, Strict, Text, route
from . import answer

PATH = "/open-apis/auth/v3/tenant_access_token/internal"


class Credentials(Strict):
    app_id: Text
    app_secret: Text


def refusal(text: str, code: int = answer.INVALID_APP) -> Response:
    return answer.refusal(text, code)


def router(state: State) -> APIRouter:
    # Feishu's own SDK names no Content-Type here.
    routes = APIRouter(route_class=route(refusal, content_type=None), strict_content_type=False)

    @routes.post(PATH)
    async def token(body: Credentials, request: Request) -> Response:
        app = state.feishu.app(body.app_id)
        if app is None:
            raise Refused("app id not exists", answer.APP_REFUSED)
        request.state.device = body.app_id
        if not secrets.compare_digest(app["app_secret"].encode(), body.app_secret.encode()):
            raise Refused("app secret invalid", answer.APP_REFUSED)
        given, expire = state.feishu.token_for(app)
        return answer.success("ok", tenant_access_token=given, expire=expire)

    return routes
