"""All of Feishu's calls."""

from fastapi import APIRouter, Response

from ..state import State
from . import record, token
from .answer import INVALID_APP, WRONG, refusal

PATHS = "/open-apis/"

__all__ = ["PATHS", "refusal", "router", "unreached"]


def router(state: State) -> APIRouter:
    """Feishu's calls, over the apps, tokens and records that `state` holds."""
    routes = APIRouter()
    for part in (token, record):
        routes.routes += part.router(state).routes
    return routes


def unreached(path: str, text: str, status: int) -> Response:
    """Refuses a call that the application could not hand on: no such path or method, or no such body."""
    if status in (404, 405):
        return refusal(text, status, status)
    if path == token.PATH:
        return refusal(text, INVALID_APP, 200 if status == 400 else status)
    return refusal(text, WRONG, status)
