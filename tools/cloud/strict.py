"""What FastAPI and pydantic need to follow a vendor's document to the letter."""

import re
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from .refusals import Refused

Text = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


def form(pattern: str, like: str) -> AfterValidator:
    """Text that matches all of a pattern, and what it looks like, for the refusal."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f"must be like {like}, not {value!r}")
        return value

    return AfterValidator(check)


def _token(authorization: str) -> str | None:
    found = re.fullmatch(r"Bearer +([A-Za-z0-9._~+/=-]+)", authorization)
    return found and found[1]


# The token in an Authorization header, None if it is not there or not well-formed.
Bearer = Annotated[str | None, Header(alias="Authorization"), BeforeValidator(_token)]


def _parts(content_type: str) -> list[str]:
    return [part.strip().lower() for part in content_type.replace('"', "").split(";")]


def content_type(wanted: str) -> Any:
    """The dependency that accepts this one alone; where it names no charset, UTF-8 may be named or not."""
    parts = _parts(wanted)

    async def check(request: Request) -> None:
        kind = request.headers.get("Content-Type", "")
        given = _parts(kind)
        foreign = any(part.startswith("charset=") and part != "charset=utf-8" for part in given)
        if given[: len(parts)] != parts or foreign:
            raise Refused(f"Content-Type must be {wanted}, not {kind!r}")

    return Depends(check)


JSON = content_type("application/json")
