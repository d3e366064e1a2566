"""Feishu: the maker's operator creates device records.

Follows 新增设备 (security_and_compliance v2, 2025/10/21), and Feishu's public documentation
of tenant_access_token and of its rate limits.
"""

from .. import clock
from ..flow import Request, driver
from ..jsontext import dumps
from . import mac_digits
from .refusals import broken, checked
from .tokens import Tokens, is_token

PRODUCTION = "https://open.feishu.cn"

# What a CloudError's code means, and whether the same request may succeed later.
CODES = {
    "1780001": ("Internal server error", True),
    "1780101": ("Request parameter error", False),
    "1780102": ("In beta testing, access has to be asked for", False),
    "1785005": ("Device information does not fit device_system", False),
    "1785007": ("device_system invalid", False),
    "1785010": ("Device already exists", False),
    "99991400": ("Too many requests", True),
    "99991663": ("Token invalid", False),
}

SYSTEMS = {1: "Windows", 2: "macOS", 3: "Linux", 4: "Android", 5: "iOS", 6: "OpenHarmony"}
OWNERSHIPS = {0: "unknown", 1: "personal", 2: "company"}
STATUSES = {0: "unknown", 1: "trusted", 2: "not trusted"}

IDENTITY = ("serial_number", "disk_serial_number", "uuid", "mac_address", "android_id", "idfv", "aaid")

_COMPUTER = ("serial_number", "disk_serial_number", "uuid")
_NEEDED = {1: _COMPUTER, 2: _COMPUTER, 3: _COMPUTER, 4: ("android_id",), 5: ("idfv",), 6: ("aaid",)}

_MARGIN_S = 300  # a token is renewed that long before it ends
_EXPIRED = ("99991663",)


class Feishu:
    """Feishu's device records, for one tenant.

    session             see muster.clouds
    app_id, app_secret  of an app that the tenant made itself
    token               instead of those: a ready tenant_access_token, as store apps get it
    now                 a function that returns Unix seconds

    All methods raise TransportError, or CloudError with Feishu's code (see CODES), words and
    log id, and with retry_after in seconds when there were too many requests.
    """

    def __init__(
        self, session, app_id=None, app_secret=None, token=None, base_url=PRODUCTION, now=clock.now
    ):  # fmt: skip
        if not token and not (app_id and app_secret):
            raise ValueError("Feishu needs app_id and app_secret, or a token")
        self._session = driver(session)
        self._app_id = app_id
        self._app_secret = app_secret
        self._tokens = Tokens(token, self._buy_token, now, _EXPIRED)
        self._base_url = base_url.rstrip("/")
        self._now = now

    def access_token(self):
        """Returns the given token, or the tenant's, kept until a few minutes before it ends."""
        return self._session.call(self._tokens.get())

    def create_device(self, device_system, device_ownership, device_status, **identity):
        """Creates a record; returns its device_record_id, a str.

        device_system     1 Windows, 2 macOS, 3 Linux, 4 Android, 5 iOS, 6 OpenHarmony. There is no
                          value for an RTOS: which one is meant is the operator's choice
        device_ownership  0 unknown, 1 personal, 2 company
        device_status     0 unknown, 1 trusted, 2 not trusted
        identity          serial_number, disk_serial_number, uuid, mac_address (bytes or text in any
                          usual form), android_id, idfv, aaid; None and "" mean that it is not known

        Raises ValueError for what record() refuses.
        """
        body = record(device_system, device_ownership, device_status, **identity)
        return self._session.call(self._create_device(body))

    def _buy_token(self):
        asked = self._now()
        body = {"app_id": self._app_id, "app_secret": self._app_secret}
        answer, said = yield from self._post("/auth/v3/tenant_access_token/internal", body)
        token, expire = said.get("tenant_access_token"), said.get("expire")
        if not is_token(token) or type(expire) is not int:
            why = "tenant_access_token or expire is missing"
            raise broken("feishu", answer, why, (self._app_secret,))
        return token, asked + expire - _MARGIN_S

    def _create_device(self, body):
        def attempt(token):
            path = "/security_and_compliance/v2/device_records"
            answer, said = yield from self._post(path, body, token)
            data = said.get("data")
            identity = data.get("device_record_id") if isinstance(data, dict) else None
            if not isinstance(identity, str) or not identity:
                raise broken("feishu", answer, "data.device_record_id is missing", (token,))
            return identity

        return self._tokens.use(attempt)

    def _post(self, path, body, token=None):
        """The flow of a request: its answer, and the JSON object in it."""
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if token:
            headers["Authorization"] = "Bearer " + token
        answer = yield Request("POST", self._base_url + "/open-apis" + path, dumps(body), headers)
        return answer, checked("feishu", answer, (token, self._app_secret), CODES)


def record(device_system, device_ownership, device_status, **identity):
    """Returns the body of create_device(), its fields checked, its MAC as ac:de:48:00:11:21.

    Raises ValueError for a value that the document does not list, an unknown field, a MAC that is
    none, and a system without its identifier: serial_number, disk_serial_number or uuid for
    Windows, macOS and Linux, android_id for Android, idfv for iOS, aaid for OpenHarmony.
    """
    body = {
        "device_system": _one_of("device_system", device_system, SYSTEMS),
        "device_ownership": _one_of("device_ownership", device_ownership, OWNERSHIPS),
        "device_status": _one_of("device_status", device_status, STATUSES),
    }
    for name in sorted(identity):
        value = identity[name]
        if name not in IDENTITY:
            raise ValueError("a device record has no field %s, only %s" % (name, ", ".join(IDENTITY)))
        if not value:
            continue
        if name == "mac_address":
            digits = mac_digits(value).lower()
            value = ":".join([digits[i : i + 2] for i in range(0, 12, 2)])
        if not isinstance(value, str) or not value.strip():
            raise ValueError("%s is a text with something in it, unlike %r" % (name, value))
        body[name] = value
    needed = _NEEDED[device_system]
    if not any(name in body for name in needed):
        raise ValueError(
            "a device of %s (device_system %d) needs %s"
            % (SYSTEMS[device_system], device_system, " or ".join(needed))
        )
    return body


def _one_of(name, value, allowed):
    if type(value) is not int or value not in allowed:  # isinstance would take a bool
        texts = ["%d (%s)" % (number, allowed[number]) for number in sorted(allowed)]
        raise ValueError("%s is one of %s, unlike %r" % (name, ", ".join(texts), value))
    return value
