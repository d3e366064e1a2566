"""China Mobile's terminal-agent service platform: fetch a device's secret, report its heartbeat.

Follows 设备接入协议 (2025/5/13).
"""

from ..flow import Request, driver
from ..redact import Masked
from . import field_text, json_object, mac_digits

PRODUCTION = "https://ivs.chinamobiledevice.com:11443"
TEST = "https://62b98tux.cxzfdm.com:30101"
LLM = "https://ivs.chinamobiledevice.com:30100"


def params(**known):
    """The params object of a report: every field of the document, its default where nothing is known.

    innerIp is a list of addresses; mac is bytes or text in any usual form; imei or cmei
    has 15 digits (muster.cmei). None and an empty value mean that it is not known.
    Raises ValueError for an unknown field, a sdkVersion without ai_, or a mac that is none.
    """
    # The document's values for what a device cannot know of itself.
    result: dict = {
        "innerIp": ["127.0.0.1"],
        "netSpeed": "0Mbps",
        "netType": "wifi",
        "platform": "RTOS",
        "sdkVersion": "ai_http_1.0",
        "firmwareVersion": "",
        "imei": "",
        "cmei": "",
        "mac": "",
    }
    unknown = [name for name in known if name not in result]
    if unknown:
        raise ValueError("params has no field %s" % ", ".join(sorted(unknown)))
    result.update({name: known[name] for name in known if known[name]})
    if not result["sdkVersion"].startswith("ai_"):
        raise ValueError("sdkVersion starts with ai_, unlike %r" % result["sdkVersion"])
    ip = result["innerIp"]
    result["innerIp"] = [ip] if isinstance(ip, str) else list(ip)
    if result["mac"]:
        digits = mac_digits(result["mac"])
        result["mac"] = "-".join([digits[i : i + 2] for i in range(0, 12, 2)])
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
        self.product_id = product_id
        self._product_key = product_key
        self._session = driver(session)
        self.base_url = base_url.rstrip("/")
        self.llm_url = llm_url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if device_ip:
            self._headers["X-AI-IP"] = device_ip

    def secret_info(self, device_no, device_no_type="SN"):
        """Fetches what the device needs to report; the platform answers the same each time.

        device_no_type   "SN", "IMEI" or "CMEI"
        Returns {"deviceId", "deviceNo", "productId", "deviceSecret"}.
        """
        return self._session.call(self._secret_info(device_no, device_no_type))

    def report(self, device_id, device_secret, params):
        """Reports a heartbeat; params as params() makes them.

        Returns {"deviceId", "protocolTypeTime"}, either None if the platform left it out.
        """
        return self._session.call(self._report(device_id, device_secret, params))

    def chat(self, ai_token, device_id, messages, model="jiutian-lan", **options):
        """A stream of the pieces of the language model's answer, as they come.

        ai_token   the product's token for the model
        messages   a str, or a list of {"role", "content"}
        model      "jiutian-lan", or "jiutian-chat" for such as children's watches
        options    temperature (default 0.8) or top_p (default 0.95), in (0, 1], at most one of them
        """
        from .jiutian import chat

        options["model"] = model
        return self._session.stream(chat(self, ai_token, device_id, messages, options))

    def _secret_info(self, device_no, device_no_type):
        answer, data = yield from self._send(
            "secret/info", {"deviceNoType": device_no_type, "deviceNo": device_no}
        )
        found = {"deviceNo": device_no, "productId": self.product_id}
        for name in found:
            self._compare(answer, name, data, found[name])
        for name in ("deviceId", "deviceSecret"):
            value = data.get(name)
            if not isinstance(value, str) or not value or any(byte < 32 for byte in value.encode()):
                raise self._broken(answer, "data.%s is not a line of text with something in it" % name)
            found[name] = value
        return Masked(found)

    def _report(self, device_id, device_secret, params):
        answer, data = yield from self._send(
            "report", {"deviceId": device_id, "deviceSecret": device_secret, "params": params}, device_secret
        )
        if data.get("deviceId"):
            self._compare(answer, "deviceId", data, device_id, device_secret)
        return Masked({name: data.get(name) for name in ("deviceId", "protocolTypeTime")})

    def _send(self, call, body, secret=""):
        """A flow: the answer, and its data, a dict. The code in the body decides, not the HTTP status."""
        body["productId"] = self.product_id
        body["productKey"] = self._product_key
        url = self.base_url + "/v2/customer/device/" + call
        # The platform may execute either call twice.
        answer = yield Request("POST", url, _written(body), self._headers, repeatable=True)
        said = json_object(answer)
        if said is None:
            raise self._broken(answer, "it is not a JSON object")
        if field_text(said.get("code")) != "200" or said.get("success") is False:
            from .refusals import refusal

            raise refusal("chinamobile", answer, said, (self._product_key, secret))
        data = said.get("data")
        return answer, data if isinstance(data, dict) else {}

    def _compare(self, answer, name, data, asked, secret=""):
        """The answer is about the device that the request is about; a number is as good as its digits."""
        found = field_text(data.get(name))
        if found != asked:
            why = "data.%s is %s, and the request is about %s" % (name, found, asked)
            raise self._broken(answer, why, secret)

    def _broken(self, answer, why, secret=""):
        from .refusals import broken

        return broken("chinamobile", answer, why, (self._product_key, secret))


def _written(body):
    from ..jsontext import dumps

    return dumps(body)
