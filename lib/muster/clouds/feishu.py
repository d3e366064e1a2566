"""Feishu: the maker's operator creates device records.

Follows 新增设备 (security_and_compliance v2, 2025/10/21), and Feishu's public documentation
of tenant_access_token and of its rate limits.
"""

from .. import clock
from ..errors import CloudError
from ..jsontext import dumps
from . import accept, header, is_token, json_object, may_pass, said, seconds

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
_RENEW = "99991663"


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
        self._session = accept(session)
        self._app_id = app_id
        self._app_secret = app_secret
        self._given = token
        self._token = None
        self._ends = 0
        self._base_url = base_url.rstrip("/")
        self._now = now

    def access_token(self):
        """The given token, or the tenant's, kept until a few minutes before it ends."""
        if self._given:
            return self._given
        # Other threads may renew it meanwhile, so what is returned is never read twice.
        token = self._token
        if token is None or self._now() >= self._ends - _MARGIN_S:
            token = self._fetch_token()
        return token

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
        token = self.access_token()
        try:
            return self._create(body, token)
        except CloudError as e:
            if e.code != _RENEW or self._given:
                raise
        # Another thread may have a new one already.
        if self._token == token:
            self._token = None
        return self._create(body, self.access_token())

    def _create(self, body, token):
        response, answer = self._post("/security_and_compliance/v2/device_records", body, token)
        data = answer.get("data")
        identity = data.get("device_record_id") if isinstance(data, dict) else None
        if not isinstance(identity, str) or not identity:
            raise _broken(response, "data.device_record_id is missing", (token,))
        return identity

    def _fetch_token(self):
        asked = self._now()
        body = {"app_id": self._app_id, "app_secret": self._app_secret}
        response, answer = self._post("/auth/v3/tenant_access_token/internal", body)
        token, expire = answer.get("tenant_access_token"), answer.get("expire")
        if not is_token(token) or type(expire) is not int:
            raise _broken(response, "tenant_access_token or expire is missing", (self._app_secret,))
        self._ends = asked + expire
        self._token = token
        return token

    def _post(self, path, body, token=None):
        """Sends an object; returns the answer, closed, and the JSON object that it held."""
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if token:
            headers["Authorization"] = "Bearer " + token
        url = self._base_url + "/open-apis" + path
        response = self._session.request("POST", url, data=dumps(body), headers=headers)
        status = response.status_code
        answer = json_object(response)
        secrets = (token, self._app_secret)
        if answer is None:
            # A gateway's page, or a portal's in front of it.
            raise _refusal(response, {"msg": "the answer is not a JSON object"}, status < 400, secrets)
        if status >= 400 or answer.get("code") not in (None, 0):
            raise _refusal(response, answer, False, secrets)
        return response, answer


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
            value = _mac(value)
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


def _mac(mac):
    """xx:xx:xx:xx:xx:xx from bytes or text."""
    text = bytes(mac).hex() if isinstance(mac, (bytes, bytearray)) else str(mac)
    digits = "".join(c for c in text if c not in ":-. ").lower()
    if len(digits) != 12 or not all(c in "0123456789abcdef" for c in digits):
        raise ValueError("mac_address has 12 hex digits, unlike %r" % (mac,))
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def _broken(response, why, secrets):
    return _refusal(response, {"msg": "the answer is not the document's: " + why}, True, secrets)


def _refusal(response, answer, passing=False, secrets=()):
    """The CloudError for a code of the table, of none, or for no code at all."""
    status = response.status_code
    code = said(answer.get("code"), secrets)
    code = None if code == "0" else code
    name, retryable = CODES.get(str(code), ("no reason given", passing or may_pass(status)))
    message = said(answer.get("msg"), secrets) or name
    wait = seconds(response, "x-ogw-ratelimit-reset")
    log_id = said(header(response, "x-tt-logid"), secrets)
    return CloudError("feishu", message, status, code, log_id, retryable, retry_after=wait)
