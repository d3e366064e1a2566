"""All of Coze's calls."""

from fastapi import APIRouter

from ..state import State
from . import audio, bind, chat, oauth, workflow
from .answer import NOT_FOUND, refusal
from .oauth import TOKEN
from .oauth import refusal as token_refusal

PATHS = ("/v1/", "/v3/", "/api/", "/open_api/")

__all__ = ["NOT_FOUND", "PATHS", "TOKEN", "refusal", "router", "token_refusal"]


def router(state: State) -> APIRouter:
    """Coze's calls, over the apps, tokens and channels that `state` holds."""
    routes = APIRouter()
    for part in (oauth, audio, chat, workflow, bind):
        routes.include_router(part.router(state))
    return routes
