"""The application: the clouds' calls, and the box's own page, state and misbehaviour."""

import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from pydantic import TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from . import page
from .baidu import manage
from .chinamobile import model, platform
from .coze import audio, bind, chat, oauth, workflow
from .feishu import record, token
from .misbehave import Misbehaviour, Switch
from .refusals import Refused, refusals_for, sentence
from .state import State
from .traffic import FILES, OnRequest, Traffic

OWN = frozenset({"/", "/state", "/misbehave", "/favicon.ico"})
HOW = TypeAdapter(Misbehaviour | None)
ROUTERS = (
    *(platform.router, model.router, manage.router, record.router, token.router),
    *(oauth.router, audio.router, audio.forms, chat.router, chat.polls, workflow.router, bind.router),
)


def make_app(
    state: State,
    switch: Switch,
    names: list[str],
    on_call: Callable[[dict[str, Any]], None],
    on_request: OnRequest,
    release: Path | None = None,
    token: str | None = None,
) -> FastAPI:
    """The box as an ASGI application; its own paths answer only where it is called by one of `names`.

    release: a folder that it offers at /release/, as a maker's static web server would.
    token: what /misbehave wants; None for a box that only this computer reaches.
    """
    app = FastAPI(title="muster: the clouds in a box", openapi_url=None, redirect_slashes=False)
    app.state.remembered = state
    for router in (*ROUTERS, _own(state, switch, names, token)):
        # Not include_router(), which would take each call apart a second time.
        app.router.routes += router.routes
    if release is not None:
        app.mount(FILES.rstrip("/"), StaticFiles(directory=release))
    app.add_middleware(Traffic, state=state, switch=switch, own=OWN, on_call=on_call, on_request=on_request)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return refusals_for(request.scope["path"]).refuse(error.text, error.code)

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> Response:
        return refusals_for(request.scope["path"]).refuse(sentence(error.errors()))

    @app.exception_handler(HTTPException)
    async def unreached(request: Request, error: HTTPException) -> Response:
        path = request.scope["path"]
        text = f"{request.method} {path}: {error.detail}"
        response = refusals_for(path).refuse_unreached(text, error.status_code)
        response.headers.update(error.headers or {})
        return response

    return app


def _own(state: State, switch: Switch, names: list[str], token: str | None) -> APIRouter:
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
        return {**state.summary(), "misbehaviour": switch.shown()}

    @own.post("/misbehave")
    async def misbehave(request: Request) -> dict[str, Any]:
        given = request.headers.get("Authorization", "")
        if token and not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, 'it wants "Authorization: Bearer …" with the token that the box printed')
        # JSON whatever its Content-Type is: curl -d says that it is a form.
        try:
            how = HOW.validate_json(await request.body() or b"null")
        except ValidationError as error:
            raise HTTPException(422, sentence(error.errors(), 0)) from None
        switch.set(how)
        return switch.shown()

    @own.get("/", response_class=HTMLResponse)
    async def index(request: Request) -> HTMLResponse:
        shown = page.render(state, switch.shown(), request.query_params)
        headers = {"Content-Security-Policy": page.POLICY, "Cache-Control": "no-store"}
        return HTMLResponse(shown, headers=headers)

    @own.get("/favicon.ico", status_code=204)
    async def favicon() -> None:
        pass

    return own
