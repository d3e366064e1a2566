"""What the box can be told to get wrong."""

import asyncio
import contextlib
import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from .tls import Kind


class Fault(BaseModel):
    """What goes wrong with a call."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    delay: float = Field(default=0, ge=0, description="seconds before the answer")
    pause: float = Field(default=0, ge=0, description="seconds before every part of a streamed answer")
    status: int = Field(default=200, ge=200, le=599, description="HTTP status of the answer given instead")
    body: str | None = Field(default=None, description="answer given instead: JSON, broken JSON, HTML")
    code: str | None = Field(default=None, description="documented refusal given instead, with this code")
    connection: Literal["truncate", "close", "reset"] | None = Field(
        default=None, description="cut it in mid-answer, close it before the first byte, or reset it there"
    )
    after: int | None = Field(
        default=None, ge=0, description="bytes of the answer's body that go out before the connection is cut"
    )
    stream: Literal["failed", "failed-bare", "error", "requires_action", "ping", "early"] | None = Field(
        default=None, description="how a streamed answer goes wrong or, for requires_action, asks back"
    )
    bytes: int | None = Field(default=None, ge=0, description="size of the text or the audio in an answer")

    def answer(self, refuse: Callable[[str, str, int], Response]) -> Response | None:
        """What is answered instead of the truth, if anything; `refuse` knows the vendor's shape."""
        if self.code is not None:
            return refuse("the box was told to misbehave", self.code, self.status)
        if self.body is None and self.status == 200:
            return None
        body = self.body or ""
        kind = "text/html" if body.lstrip().startswith("<") else "application/json"
        return Response(body, self.status, media_type=kind)


class Misbehaviour(Fault):
    """One way to misbehave, until told otherwise or for the next `times` calls or handshakes.

    The vendors' paths misbehave, the box's own do not. A bad certificate is shown to every new
    connection, and nothing else goes wrong then.
    """

    certificate: Kind = Field(default="good", description="what the server shows to new connections")
    path: str | None = Field(default=None, description="of the vendors' paths, only this one")
    share: float = Field(default=1, gt=0, le=1, description="of the calls or handshakes, drawn by lot")
    one_of: list[Fault] = Field(
        default=[], description="faults of which each call draws one, instead of the above"
    )
    times: int | None = Field(default=None, ge=1, description="calls or handshakes until it behaves again")


def fields() -> Iterator[tuple[str, str]]:
    """Each field of Misbehaviour with what it does, its values first where only some are taken."""
    for name, field in Misbehaviour.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        values = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
        yield name, ": ".join(filter(None, [", ".join(values), field.description]))


GOOD = Misbehaviour()
LINGER = "hh" if os.name == "nt" else "ii"


class Switch:
    """Holds what goes wrong now, and counts it down."""

    def __init__(self) -> None:
        self.now = GOOD

    def set(self, how: Misbehaviour | None) -> None:
        self.now = how or GOOD

    def shown(self) -> dict[str, Any]:
        """What goes wrong now, as JSON; empty when that is nothing."""
        return self.now.model_dump(exclude_defaults=True) if self.now != GOOD else {}

    def for_call(self, path: str) -> Fault:
        if self.now.certificate != "good" or self.now.path not in (None, path):
            return GOOD
        how = self._use()
        return random.choice(how.one_of) if how.one_of else how

    def for_handshake(self) -> Kind:
        return "good" if self.now.certificate == "good" else self._use().certificate

    def _use(self) -> Misbehaviour:
        how = self.now
        if random.random() >= how.share:
            return GOOD
        if how.times is not None:
            left = how.times - 1
            self.now = how.model_copy(update={"times": left}) if left else GOOD
        return how


def hang_up(transport: asyncio.Transport, reset: bool = False) -> None:
    """Ends a connection at once, without TLS's goodbye; with TCP's RST if wanted."""
    if reset:
        # RST is what close() sends when it is told to linger for no time at all.
        with contextlib.suppress(OSError):
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(LINGER, 1, 0)
            )
    transport.abort()
