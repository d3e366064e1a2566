"""The shapes in which Baidu answers, and its two tables of codes (公共错误码, 自定义错误码说明)."""

import uuid
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

OK, NO_FC, NO_PK, FC_NOT_FOUND, PK_NOT_FOUND, BAD_ROW, TOO_MANY, DUPLICATED = range(8)
EMPTY, NO_QUOTA, NOT_FOUND = range(9, 12)

NUMBERED = {
    OK: "OK",
    NO_FC: "Missing fc Parameter",
    NO_PK: "Missing pk Parameter",
    FC_NOT_FOUND: "FC Not Found",
    PK_NOT_FOUND: "PK Not Found",
    BAD_ROW: "CSV Format Error or Missing ak/sk Parameter.",
    TOO_MANY: "Import Device Batch Error: Max Batch Size is 1000.",
    DUPLICATED: "AK Duplicated.",
    8: "Read File Error.",
    EMPTY: "Empty File Error.",
    NO_QUOTA: "Insufficient Quota Error.",
    NOT_FOUND: "Device Not Found.",
    12: "Generate TTS Url Error.",
}

NAMED = {
    "AccessDenied": (403, "Access denied."),
    "InappropriateJSON": (
        400,
        "The JSON you provided was well-formed and valid, but not appropriate for this operation.",
    ),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The Access Key ID you provided does not exist in our records."),
    "InvalidHTTPAuthHeader": (
        400,
        "The HTTP authorization header is invalid. Consult the service documentation for details.",
    ),
    "InvalidHTTPRequest": (400, "There was an error in the body of your HTTP request."),
    "InvalidURI": (400, "Could not parse the specified URI."),
    "MalformedJSON": (400, "The JSON you provided was not well-formed."),
    "InvalidVersion": (404, "The API version specified was invalid."),
    "OptInRequired": (403, "A subscription for the service is required."),
    "PreconditionFailed": (412, "The specified If-Match header doesn't match the ETag header."),
    "RequestExpired": (400, "Request has expired. Timestamp date is"),
    "IdempotentParameterMismatch": (
        403,
        "The request uses the same client token as a previous, but non-identical request.",
    ),
    "SignatureDoesNotMatch": (
        400,
        "The request signature we calculated does not match the signature you provided. Check your Secret"
        " Access Key and signing method. Consult the service documentation for details.",
    ),
}


def answer(content: dict[str, Any]) -> Response:
    return _answer(content, 200, _request_id())


def refusal(text: str = "", code: int | str = "InvalidHTTPRequest", status: int = 200) -> Response:
    """The document's words for a code, and what the box adds to them.

    Args:
        status: HTTP status of a numbered code, or of a named one that is in no table; the table
            has the others', which any but 200 overrides.
    """
    known, words = (
        (status, NUMBERED.get(code, "")) if isinstance(code, int) else NAMED.get(code, (status, ""))
    )
    request_id = _request_id()
    content = {"code": code, "message": f"{words} {text}".strip()}
    if isinstance(code, str):
        content["requestId"] = request_id
    return _answer(content, known if status == 200 else status, request_id)


def _request_id() -> str:
    return str(uuid.uuid4())


def _answer(content: dict[str, Any], status: int, request_id: str) -> Response:
    header = {"x-bce-request-id": request_id, "Content-Type": "application/json; charset=utf-8"}
    return JSONResponse(content, status, header)
