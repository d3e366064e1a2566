"""Refusing in the vendor's own shape and words, with the codes of its documents."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import Response

from . import answers
from .codes import BAIDU_NAMED, BAIDU_NUMBERED, COZE, COZE_TOKEN, FEISHU, Code, CozeCode, FeishuCode, Refusal


class Refused(Exception):
    """A call is refused, for a reason that quotes no secret.

    code: of the vendor's table; without one, that of a wrong parameter.
    """

    def __init__(self, text: str = "", code: Code | None = None) -> None:
        super().__init__(text)
        self.text, self.code = text, code


@dataclass(frozen=True)
class Refusals:
    """How a vendor refuses.

    paths      of the calls that it refuses so, as a regular expression for their beginning
    shape      makes the answer from text, code and HTTP status
    wrong      the code for a parameter that is missing or wrong
    codes      its table
    status     HTTP status of a code for which the table has none
    prefix     its words before a wrong parameter, where the code has none
    unreached  {HTTP status: code} for a call that has no such path or method, or no such body
    """

    paths: str
    shape: Callable[[str, Code, int], Response]
    wrong: Code
    codes: Mapping[Code, Refusal] = field(default_factory=dict)
    status: int = 200
    prefix: str = ""
    unreached: Mapping[int, Code] = field(default_factory=dict)

    def refuse(self, text: str, code: Code | None = None, status: int | None = None) -> Response:
        """The vendor's words for a code, and what the box adds to them; status overrides the table's."""
        if code is None:
            code, text = self.wrong, self.prefix + text
        return self._answer(text, code, status or self.codes.get(code, (None, ""))[0] or self.status)

    def refuse_unreached(self, text: str, status: int) -> Response:
        """Refuses a call that the application could not hand on."""
        code = self.unreached.get(status)
        if code is None:
            return self._answer(text, self.wrong, status)
        return self._answer(text, code, self.codes.get(code, (None, ""))[0] or status)

    def as_told(self, text: str, code: str, status: int) -> Response:
        """A refusal that the box was told to give; HTTP status 200 leaves it to the table."""
        numbers = code.isdigit() and any(isinstance(known, int) for known in self.codes)
        return self.refuse(text, int(code) if numbers else code, None if status == 200 else status)

    def _answer(self, text: str, code: Code, status: int) -> Response:
        words = self.codes.get(code, (None, ""))[1]
        return self.shape(f"{words} {text}".strip(), code, status)


BAIDU: Mapping[Code, Refusal] = {
    **{code: (200, words) for code, words in BAIDU_NUMBERED.items()},
    **BAIDU_NAMED,
}
COZE_UNREACHED = {404: CozeCode.NOT_FOUND, 405: CozeCode.NOT_FOUND}
MODEL: Mapping[Code, Refusal] = {"invalid_api_key": (401, "")}


# The first whose paths fit refuses.
VENDORS = (
    # What the domain's other versions are asked is this vendor's to refuse, too.
    Refusals(r"/v2/manage(/|$)", answers.baidu_refusal, "InvalidHTTPRequest", BAIDU,
             unreached={404: "InvalidURI", 405: "InvalidURI"}),
    Refusals(r"/v[^/]+/manage(/|$)", answers.baidu_refusal, "InvalidHTTPRequest", BAIDU,
             unreached={404: "InvalidVersion"}),
    Refusals(r"/open-apis/auth/v3/tenant_access_token/internal$", answers.feishu, FeishuCode.INVALID_APP,
             FEISHU, unreached={400: FeishuCode.INVALID_APP, 404: 404, 405: 405}),
    Refusals(r"/open-apis/", answers.feishu, FeishuCode.WRONG, FEISHU, unreached={404: 404, 405: 405}),
    Refusals(r"/api/permission/oauth2/token$", answers.coze_token_refusal, "invalid_request",
             COZE_TOKEN, 400),
    Refusals(r"/v1/audio/transcriptions$", answers.coze_refusal, CozeCode.WRONG, COZE,
             unreached={**COZE_UNREACHED, 413: CozeCode.FILE_TOO_LARGE}),
    Refusals(r"/(v1|v3|api|open_api)/", answers.coze_refusal, CozeCode.WRONG, COZE, unreached=COZE_UNREACHED),
    Refusals(r"/llm/", answers.model_refusal, "invalid_request", MODEL, 400),
    Refusals("", answers.platform_refusal, "500", prefix="参数错误: "),
)  # fmt: skip


def refusals_for(path: str) -> Refusals:
    return next(vendor for vendor in VENDORS if re.match(vendor.paths, path))


def sentence(faults: Any, depth: int = 1) -> str:
    """What pydantic found wrong; `depth` is the number of places before the first field's name."""
    return "; ".join(_fault(fault, depth) for fault in faults)


def _fault(fault: dict[str, Any], depth: int) -> str:
    where = ".".join(str(part) for part in fault["loc"][depth:]) or "the body"
    match fault["type"]:
        case "json_invalid":
            return "the body is not JSON"
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden":
            return f"{where} is not a field of this call"
        case "value_error":
            return f"{where} {fault['ctx']['error']}"
        case "model_type" | "model_attributes_type":
            return f"{where} must be a JSON object"
    return f"{where} {re.sub('^[A-Z][a-z]+ should', 'must', fault['msg'])}"
