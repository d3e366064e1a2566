"""All of Coze's calls."""

from fastapi import APIRouter, Response

from ..state import State
from . import audio, bind, chat, oauth, workflow
from .answer import FILE_TOO_LARGE, NOT_FOUND, WRONG, refusal
from .oauth import TOKEN
from .oauth import refusal as token_refusal

PATHS = ("/v1/", "/v3/", "/api/", "/open_api/")

__all__ = ["PATHS", "TOKEN", "refusal", "router", "token_refusal", "unreached"]


def router(state: State) -> APIRouter:
    """Coze's calls, over the apps, tokens and channels that `state` holds."""
    routes = APIRouter()
    for part in (oauth, audio, chat, workflow, bind):
        routes.routes += part.router(state).routes
    return routes


def unreached(path: str, text: str, status: int) -> Response:
    """Refuses a call that the application could not hand on: no such path or method, or no such body."""
    if status in (404, 405):
        return refusal(text, NOT_FOUND, status)
    return refusal(text, FILE_TOO_LARGE if path == audio.TRANSCRIPTIONS else WRONG, status)
