"""Baidu's calls, and what is refused before one of them is reached."""

from fastapi import Response

from .answer import refusal
from .manage import ANY_VERSION, router

__all__ = ["owns", "refusal", "router", "unreached"]


def owns(path: str) -> bool:
    return ANY_VERSION.match(path) is not None


def unreached(path: str, text: str, status: int) -> Response:
    """Refuses a call that the application could not hand on: no such path or method, or no such body."""
    version = ANY_VERSION.match(path)
    if version and version[1] != "2":
        return refusal(f"It must be 2, not {version[1]}.", "InvalidVersion")
    if status in (404, 405):
        return refusal(text, "InvalidURI")
    return refusal(text, "InvalidHTTPRequest", status)
