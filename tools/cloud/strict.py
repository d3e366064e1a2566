"""Refusing, in the vendor's own shape, what does not follow its document to the letter."""

import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Refused(Exception):
    """Answered with the vendor's refusal of these arguments, none of which may quote a secret."""


def form(pattern: str, like: str) -> AfterValidator:
    """Text that matches all of a pattern, and what it looks like, for the refusal."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f"must be like {like}, not {value!r}")
        return value

    return AfterValidator(check)


def bearer(authorization: str | None) -> str | None:
    """The token in an Authorization header, if it is there and well-formed."""
    found = re.fullmatch(r"Bearer +([A-Za-z0-9._~+/=-]+)", authorization or "")
    return found and found[1]


def route(
    refuse: Callable[..., Response], wrong: str = "", content_type: str | None = "application/json"
) -> type[APIRoute]:
    """A class of routes that refuse with `refuse` what FastAPI would refuse in its own shape.

    Args:
        refuse: takes a sentence, or what a `Refused` was made of.
        wrong: the vendor's words for a wrong parameter, which stand before the sentence.
        content_type: the only one that is accepted; without a charset, UTF-8 may be named or not. None
            accepts all.
    """
    wanted = _parts(content_type or "")

    class Route(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Any]:
            handle = super().get_route_handler()

            async def refusing(request: Request) -> Response:
                kind = request.headers.get("Content-Type", "")
                given = _parts(kind)
                foreign = any(part.startswith("charset=") and part != "charset=utf-8" for part in given)
                if content_type and (given[: len(wanted)] != wanted or foreign):
                    return refuse(f"{wrong}Content-Type must be {content_type}, not {kind!r}")
                try:
                    return await handle(request)
                except RequestValidationError as error:
                    return refuse(wrong + sentence(error.errors()))
                except Refused as error:
                    return refuse(*error.args)

            return refusing

    return Route


def _parts(content_type: str) -> list[str]:
    return [part.strip().lower() for part in content_type.replace('"', "").split(";")]


def sentence(faults: Any, depth: int = 1) -> str:
    """What pydantic found wrong; `depth` is the number of places before the first field's name."""
    return "; ".join(_fault(fault, depth) for fault in faults)


def _fault(fault: dict[str, Any], depth: int) -> str:
    where = ".".join(str(part) for part in fault["loc"][depth:]) or "the body"
    if fault["type"] == "json_invalid":
        return "the body is not JSON"
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] == "extra_forbidden":
        return f"{where} is not a field of this call"
    if fault["type"] == "value_error":
        return f"{where} {fault['ctx']['error']}"
    if fault["type"] in ("model_type", "model_attributes_type"):
        return f"{where} must be a JSON object"
    return f"{where} {re.sub('^[A-Z][a-z]+ should', 'must', fault['msg'])}"
