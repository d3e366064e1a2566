"""The application: the clouds' calls, and the box's own page, state and misbehaviour."""

import re
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException

from . import chinamobile, model, page
from .baidu import router as baidu
from .coze import router as coze
from .feishu import router as feishu
from .misbehave import GOOD, Misbehaviour, Switch
from .state import State
from .strict import sentence
from .traffic import Traffic

OWN = frozenset({"/", "/state", "/misbehave", "/favicon.ico"})
HOW = TypeAdapter(Misbehaviour | None)


def make_app(
    state: State, switch: Switch, names: list[str], on_call: Callable[[dict[str, Any]], None]
) -> FastAPI:
    """The box as an ASGI application; its own paths answer only where it is called by one of `names`."""
    app = FastAPI(title="muster: the clouds in a box", openapi_url=None, redirect_slashes=False)
    for vendor in (chinamobile, model, coze, baidu, feishu):
        # Not include_router(), which would take each call apart a second time.
        app.router.routes += vendor.router(state).routes
    app.add_middleware(Traffic, state=state, switch=switch, own=OWN, on_call=on_call, refuse=refusal)

    hosts = {f"[{name}]" if ":" in name else name.lower() for name in names}

    async def called_by_name(request: Request) -> None:
        # A foreign page may send requests here, from a browser or through a DNS name that it turns round.
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if re.sub(":[0-9]+$", "", host).lower() not in hosts:
            raise HTTPException(403, f"the box is called {', '.join(names)}, not {host!r}")
        if origin not in (None, f"https://{host}"):
            raise HTTPException(403, f"a page of {origin!r} may not ask this")

    own = APIRouter(dependencies=[Depends(called_by_name)])

    @own.get("/state")
    async def summary() -> dict[str, Any]:
        return {**state.summary(), "misbehaviour": told(switch)}

    @own.post("/misbehave")
    async def misbehave(request: Request) -> dict[str, Any]:
        # JSON whatever its Content-Type is: curl -d says that it is a form.
        try:
            how = HOW.validate_json(await request.body() or b"null")
        except ValidationError as error:
            raise HTTPException(422, sentence(error.errors(), 0)) from None
        switch.set(how)
        return told(switch)

    @own.get("/", response_class=HTMLResponse)
    async def index() -> str:
        return page.render(await summary())

    @own.get("/favicon.ico")
    async def favicon() -> Response:
        return Response(status_code=204)

    app.router.routes += own.routes

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        path = request.scope["path"]
        response = refusal(path, f"{request.method} {path}: {error.detail}", None, error.status_code)
        response.headers.update(error.headers or {})
        return response

    return app


def refusal(path: str, text: str, code: str | None, status: int) -> Response:
    """Refuses a call in the shape of the vendor whose path it is; without a code, with a usual one."""
    if baidu.owns(path):
        return baidu.refusal(text, number(code), status) if code else baidu.unreached(path, text, status)
    if path.startswith(feishu.PATHS):
        return feishu.refusal(text, number(code), status) if code else feishu.unreached(path, text, status)
    if path == coze.TOKEN:
        return coze.token_refusal(text, code or "invalid_request", status)
    if path.startswith(coze.PATHS):
        return coze.refusal(text, number(code), status) if code else coze.unreached(path, text, status)
    if path.startswith(model.PATH):
        return model.refusal(text, code or "invalid_request", status)
    return chinamobile.refusal(text, code or "500", status)


def number(code: str) -> int | str:
    """A code as its vendor writes it: where some are names, the others are numbers."""
    return int(code) if code.isdigit() else code


def told(switch: Switch) -> dict[str, Any]:
    """What the box was told to get wrong, as JSON; empty when that is nothing."""
    return switch.now.model_dump(exclude_defaults=True) if switch.now != GOOD else {}
