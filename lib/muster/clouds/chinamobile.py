"""China Mobile's terminal-agent service platform: fetch a device's secret, report its heartbeat.

Follows 设备接入协议 (2025/5/13). A method that talks to the platform is a request, which
is plain data, and the reading of its answer; the two halves are public, for programs
that send in another way.
"""

from ..errors import CloudError
from ..jsontext import dumps, loads
from ..masked import Masked
from . import accept, json_object, may_pass, said, seconds

PRODUCTION = "https://ivs.chinamobiledevice.com:11443"
TEST = "https://62b98tux.cxzfdm.com:30101"
LLM = "https://ivs.chinamobiledevice.com:30100"

# The document's values for what a device cannot know of itself.
_UNKNOWN = (
    ("innerIp", ["127.0.0.1"]),
    ("netSpeed", "0Mbps"),
    ("netType", "wifi"),
    ("platform", "RTOS"),
    ("sdkVersion", "ai_http_1.0"),
    ("firmwareVersion", ""),
    ("imei", ""),
    ("cmei", ""),
    ("mac", ""),
)


def params(**known):
    """The params object of a report: every field of the document, its default where nothing is known.

    innerIp is a list of addresses; mac is bytes or text in any usual form; imei or cmei
    has 15 digits (muster.cmei). None and an empty value mean that it is not known.
    Raises ValueError for an unknown field, a sdkVersion without ai_, or a mac that is none.
    """
    result = {}
    for name, default in _UNKNOWN:
        result[name] = known.pop(name, None) or default
    if known:
        raise ValueError("params has no field %s" % ", ".join(sorted(known)))
    if not result["sdkVersion"].startswith("ai_"):
        raise ValueError("sdkVersion starts with ai_, unlike %r" % result["sdkVersion"])
    ip = result["innerIp"]
    result["innerIp"] = [ip] if isinstance(ip, str) else list(ip)
    result["mac"] = _mac(result["mac"])
    return result


class ChinaMobile:
    """The platform, for one product.

    product_id, product_key  as the platform gave them when the product was made
    session                  see muster.clouds
    base_url                 PRODUCTION or TEST
    llm_url                  of the platform's language model
    device_ip                the device's address, when a server calls in its place (X-AI-IP)

    All methods raise TransportError, or CloudError with the platform's code and words.
    """

    def __init__(self, product_id, product_key, session, base_url=PRODUCTION, llm_url=LLM, device_ip=None):
        self._product_id = product_id
        self._product_key = product_key
        self._session = accept(session)
        self._base_url = base_url.rstrip("/")
        self._llm_url = llm_url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if device_ip:
            self._headers["X-AI-IP"] = device_ip

    def secret_info(self, device_no, device_no_type="SN"):
        """Fetches what the device needs to report; the platform answers the same each time.

        device_no_type   "SN", "IMEI" or "CMEI"
        Returns {"deviceId", "deviceNo", "productId", "deviceSecret"}.
        """
        request = self.secret_info_request(device_no, device_no_type)
        return self.secret_info_answer(self._send(request), device_no)

    def report(self, device_id, device_secret, params):
        """Reports a heartbeat; params as params() makes them.

        Returns {"deviceId", "protocolTypeTime"}, either None if the platform left it out.
        """
        request = self.report_request(device_id, device_secret, params)
        return self.report_answer(self._send(request), device_id, device_secret)

    def chat(self, ai_token, device_id, messages, model="jiutian-lan", **options):
        """Yields the pieces of the language model's answer as they come.

        ai_token   the product's token for the model
        messages   a str, or a list of {"role", "content"}
        model      "jiutian-lan", or "jiutian-chat" for such as children's watches
        options    temperature (default 0.8) or top_p (default 0.95), in (0, 1], at most one of them
        """
        if "temperature" in options and "top_p" in options:
            raise ValueError("temperature or top_p: at most one of the two may be changed")
        for name in options:
            if name in ("temperature", "top_p") and not 0 < options[name] <= 1:
                raise ValueError("%s is above 0 and at most 1, unlike %r" % (name, options[name]))
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        body = dict(options, model=model, messages=messages, stream=True)
        headers = dict(self._headers, Authorization="Bearer " + ai_token)
        headers["X-AI-VID"] = self._product_id
        headers["X-AI-UID"] = device_id
        return self._answer_of_model(dumps(body), headers, ai_token)

    def _answer_of_model(self, body, headers, ai_token):
        from ..sse import events

        url = self._llm_url + "/llm/v1/chat/completions"
        response = self._session.request("POST", url, data=body, headers=headers, stream=True)
        try:
            if not (response.headers.get("content-type") or "").lower().startswith("text/event-stream"):
                raise self._model_refuses(response, ai_token)
            for _, data, _ in events(response.iter_lines()):
                if data == "[DONE]":
                    return
                try:
                    event = loads(data)
                    if event.get("error"):
                        raise self._model_error(response, event, ai_token)
                    # The last piece may hold nothing but what it costs.
                    piece = event["choices"] and event["choices"][0]["delta"].get("content")
                except (ValueError, KeyError, IndexError, TypeError, AttributeError):
                    raise _broken(response, "an event of the stream is not a piece of an answer")
                if piece and isinstance(piece, str):
                    yield piece
            raise _broken(response, "the stream ended before it was complete")
        finally:
            response.close()

    def _model_refuses(self, response, ai_token):
        body = json_object(response)
        if body is None:
            return _broken(response, "it is not JSON")
        return self._model_error(response, body, ai_token)

    def _model_error(self, response, body, ai_token):
        """OpenAI's form of an error, or the platform's own."""
        error = body.get("error") or body
        if not isinstance(error, dict):
            error = {"message": error}
        message = error.get("message") or error.get("msg")
        return self._refusal(response, error.get("code"), message, ai_token)

    def secret_info_request(self, device_no, device_no_type="SN"):
        """(method, url, body, headers) of secret_info."""
        return self._request(
            "secret/info",
            {
                "deviceNoType": device_no_type,
                "deviceNo": device_no,
                "productId": self._product_id,
                "productKey": self._product_key,
            },
        )

    def secret_info_answer(self, response, device_no):
        """What secret_info returns, from the answer to the request for device_no."""
        data = self._read(response)
        asked = {"deviceNo": device_no, "productId": self._product_id}
        for name in asked:
            self._compare(response, name, data.get(name), asked[name])
        for name in ("deviceId", "deviceSecret"):
            value = data.get(name)
            if not isinstance(value, str) or not value or any(c < " " for c in value):
                raise _broken(response, "data.%s is not a line of text with something in it" % name)
            asked[name] = value
        return Masked(asked)

    def report_request(self, device_id, device_secret, params):
        """(method, url, body, headers) of report."""
        return self._request(
            "report",
            {
                "deviceId": device_id,
                "deviceSecret": device_secret,
                "productId": self._product_id,
                "productKey": self._product_key,
                "params": params,
            },
        )

    def report_answer(self, response, device_id, device_secret=""):
        """What report returns, from the answer; the secret is masked in a refusal that repeats it."""
        data = self._read(response, device_secret)
        named = data.get("deviceId")
        if named:
            self._compare(response, "deviceId", named, device_id, device_secret)
        return Masked({name: data.get(name) for name in ("deviceId", "protocolTypeTime")})

    def _compare(self, response, name, found, asked, secret=""):
        """The answer is about the device that the request is about; a number is as good as its digits."""
        if said(found) != asked:
            found = said(found, (self._product_key, secret))
            raise _broken(response, "data.%s is %s, and the request is about %s" % (name, found, asked))

    def _send(self, request):
        method, url, body, headers = request
        # Both calls may be executed twice. Other sessions do not know the word.
        more = {"repeatable": True} if hasattr(self._session, "exchange") else {}
        return self._session.request(method, url, data=body, headers=headers, **more)

    def _request(self, call, body):
        body = dumps(body)
        return "POST", self._base_url + "/v2/customer/device/" + call, body, self._headers

    def _read(self, response, device_secret=""):
        """The answer's data, a dict. The code in the body decides, whatever the HTTP status."""
        body = json_object(response)
        if body is None:
            raise _broken(response, "it is not a JSON object")
        code = body.get("code")
        if said(code) != "200" or body.get("success") is False:
            message = body.get("message") or body.get("msg")
            raise self._refusal(response, code, message, device_secret)
        data = body.get("data")
        return data if isinstance(data, dict) else {}

    def _refusal(self, response, code, message, secret):
        secrets = (self._product_key, secret)
        message, code = said(message, secrets) or "no reason given", said(code, secrets)
        status, wait = response.status_code, seconds(response, "retry-after")
        return CloudError("chinamobile", message, status, code, None, may_pass(status), wait)


def _broken(response, why):
    wait = seconds(response, "retry-after")  # a proxy's refusal is HTML, and has one too
    text = "the answer is not the document's: " + why
    return CloudError("chinamobile", text, response.status_code, None, None, True, wait)


def _mac(mac):
    """XX-XX-XX-XX-XX-XX from bytes or text."""
    if isinstance(mac, (bytes, bytearray)):
        mac = bytes(mac).hex()
    digits = "".join(c for c in mac if c not in ":-. ").upper()
    if not digits:
        return ""
    if len(digits) != 12 or not all(c in "0123456789ABCDEF" for c in digits):
        raise ValueError("a MAC address has 12 hex digits, unlike %r" % mac)
    return "-".join(digits[i : i + 2] for i in range(0, 12, 2))
