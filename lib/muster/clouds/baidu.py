"""Baidu's Dujia AIoT voice platform: the maker's operator imports, shows, bans and deletes devices.

Follows 度家设备管理API, and Baidu's public documentation of bce-auth-v1 for the signature.
fc, pk, ak and sk name the vendor, the product, a device and that device's key; they are
not the Access Key pair, which signs the requests.
"""

import time

from .. import clock
from ..flow import Request, driver
from ..hmac import Key
from ..jsontext import dumps
from ..redact import Masked
from .refusals import broken, checked

PRODUCTION = "https://smarthome-bdvs.baidubce.com"

MAX_IMPORT = 1000

# What a CloudError's code means, and whether the same request may succeed later.
CODES = {
    "0": ("OK", False),
    "1": ("Missing fc", False),
    "2": ("Missing pk", False),
    "3": ("FC not found", False),
    "4": ("PK not found", False),
    "5": ("CSV format error, or ak or sk missing", False),
    "6": ("More than 1000 devices at once", False),
    "7": ("AK duplicated", False),
    "8": ("Read file error", True),
    "9": ("Empty file", False),
    "10": ("Insufficient quota", False),
    "11": ("Device not found", False),
    "12": ("Generate TTS URL error", True),
    "AccessDenied": ("Access denied", False),
    "InappropriateJSON": ("JSON not appropriate for this operation", False),
    "InternalError": ("Internal error", True),
    "InvalidAccessKeyId": ("Access Key ID unknown", False),
    "InvalidHTTPAuthHeader": ("Authorization header malformed", False),
    "InvalidHTTPRequest": ("HTTP body malformed", False),
    "InvalidURI": ("URI malformed", False),
    "MalformedJSON": ("JSON malformed", False),
    "InvalidVersion": ("API version unknown", False),
    "OptInRequired": ("Service not subscribed to", False),
    "PreconditionFailed": ("If-Match does not match the ETag", False),
    # Valid for half an hour, so it is a clock that is wrong, and no second attempt sets it.
    "RequestExpired": ("Request expired", False),
    "IdempotentParameterMismatch": ("Client token used before with other parameters", False),
    "SignatureDoesNotMatch": ("Signature does not match", False),
}

_STATES = ("NOT_ACTIVE", "ACTIVATED", "BAN")
_ORDERS = ("asc", "desc")
_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


class Baidu:
    """The platform's device management, for one product.

    access_key_id, secret_access_key  the maker's Access Key pair
    fc, pk                            the vendor and the product, as the console shows them
    session                           see muster.clouds
    now                               a function that returns Unix seconds

    All methods raise TransportError, or CloudError with Baidu's code (see CODES), words and
    request id; ValueError for what the document does not allow.
    """

    def __init__(
        self, access_key_id, secret_access_key, fc, pk, session, base_url=PRODUCTION, now=clock.now
    ):  # fmt: skip
        if not access_key_id or not secret_access_key:
            raise ValueError("Baidu needs access_key_id and secret_access_key")
        scheme, _, rest = base_url.rstrip("/").partition("://")
        host, slash, prefix = rest.partition("/")
        self._origin = scheme + "://" + host
        self._path = slash + prefix + "/v2/manage/device"
        self._device_path = "%s/%s/%s/" % (self._path, _part("fc", fc), _part("pk", pk))
        default = ":443" if scheme == "https" else ":80"
        self._host = host[: -len(default)] if host.endswith(default) else host
        self._access_key_id = access_key_id
        self._secret_access_key = secret_access_key
        self._fc = fc
        self._pk = pk
        self._session = driver(session)
        self._now = now

    def import_devices(self, pairs):
        """Imports 1 to 1000 devices; on a board fewer, as the whole request stands in memory.

        pairs   (ak, sk) of each; no ak twice

        After a code 7 (an ak is there already) Baidu does not say which, nor what
        became of the others: ask get().
        """
        rows = []
        seen = set()
        for ak, sk in pairs:
            rows.append(row(ak, sk))
            if ak in seen:
                raise ValueError("ak %r stands twice in one import" % ak)
            seen.add(ak)
        if not 1 <= len(rows) <= MAX_IMPORT:
            raise ValueError("an import takes 1 to %d devices, and these are %d" % (MAX_IMPORT, len(rows)))
        body = {"fc": self._fc, "pk": self._pk, "devices": rows}
        return self._session.call(self._change("POST", self._path, body))

    def delete(self, ak):
        """Deletes a device. The quota that it has used does not come back."""
        return self._session.call(self._change("DELETE", self._device(ak)))

    def disable(self, ak):
        """Keeps a device from the voice services."""
        return self._session.call(self._change("PUT", self._device(ak) + "/disable"))

    def enable(self, ak):
        """Lets a disabled device back to the voice services."""
        return self._session.call(self._change("PUT", self._device(ak) + "/enable"))

    def get(self, ak):
        """Returns a device: accountUuid, fc, pk, ak, sk, state, createTime, updateTime (Beijing time)."""
        return self._session.call(self._get(self._device(ak), ak))

    def list(self, state=None, order=None, page_no=1, page_size=10):
        """Returns a page of the product's devices: result, a list as of get(), totalCount and more.

        state   only devices that are "NOT_ACTIVE", "ACTIVATED" or "BAN"
        order   "asc" or "desc", by createTime
        """
        return self._session.call(self._page(self._params(state, order, page_no, page_size)))

    def list_all(self, state=None, order=None, page_size=100):
        """A stream of every device, as of get(), page by page.

        One that comes or goes meanwhile may be missed or come twice.
        """
        return self._session.stream(self._pages(self._params(state, order, 1, page_size)))

    def _params(self, state, order, page_no, page_size):
        params = {"fc": self._fc, "pk": self._pk}
        if state is not None:
            params["state"] = _one_of("state", state, _STATES)
        if order is not None:
            params["order"] = _one_of("order", str(order).lower(), _ORDERS)
        params["pageNo"] = _positive("page_no", page_no)
        params["pageSize"] = _positive("page_size", page_size)
        return params

    def _get(self, path, ak):
        answer, device = yield from self._send("GET", path)
        if device.get("ak") not in (None, ak):
            raise broken("baidu", answer, "it is about another device")
        return Masked(device)

    def _page(self, params):
        answer, page = yield from self._send("GET", self._path, params)
        devices = page.get("result")
        if devices is None and page.get("totalCount") == 0:
            devices = []
        if not isinstance(devices, list) or not all(isinstance(device, dict) for device in devices):
            raise broken("baidu", answer, "result is not a list of devices")
        page["result"] = [Masked(device) for device in devices]
        return Masked(page)

    def _pages(self, params):
        seen = 0
        while True:
            page = yield from self._page(params)
            devices = page["result"]
            for device in devices:
                yield device
            seen += len(devices)
            total = page.get("totalCount")
            if not devices or (isinstance(total, int) and seen >= total):
                return
            params["pageNo"] += 1

    def _device(self, ak):
        return self._device_path + _part("ak", ak)

    def _change(self, method, path, body=None):
        answer, said = yield from self._send(method, path, body=body)
        if said.get("code") is None and said.get("result") != "OK":
            raise broken("baidu", answer, "it has neither code 0 nor result OK", _keys(body))

    def _send(self, method, path, params=None, body=None):
        """The flow of a signed request: its answer, and the JSON object in it."""
        params = params or {}
        now = self._now()
        headers = {
            # Named here because it is signed: sessions differ about the port in it.
            "Host": self._host,
            "Content-Type": "application/json; charset=utf-8",
            "x-bce-date": _date(now),
        }
        signature = authorization(
            self._access_key_id, self._secret_access_key, method, path, params, headers, now
        )
        headers["Authorization"] = signature
        url = self._origin + path
        if params:
            url += "?" + _query(params)
        data = None if body is None else dumps(body)
        answer = yield Request(method, url, data, headers)
        return answer, checked("baidu", answer, [signature, self._secret_access_key] + _keys(body), CODES)


def authorization(
    access_key_id, secret_access_key, method, path, params, headers, timestamp, expires=1800
):  # fmt: skip
    """Returns the Authorization header of a request (bce-auth-v1).

    path       percent-encoded already, and signed as it is
    params     a dict of the query's parameters, raw
    headers    a dict of the request's headers; host and x-bce-date among them are signed
    timestamp  Unix seconds at which the signature begins to be valid
    expires    seconds for which it is
    """
    params = {name: params[name] for name in params if name.lower() != "authorization"}
    lines = []
    for name in headers:
        value = headers[name].encode().strip()
        if name.lower() in ("host", "x-bce-date") and value:
            lines.append(name.lower() + ":" + _encode(value))
    lines.sort()
    signed = ";".join(line.partition(":")[0] for line in lines)
    request = "\n".join([method.upper(), path, _query(params)] + lines)
    prefix = "bce-auth-v1/%s/%s/%d" % (access_key_id, _date(timestamp), expires)
    # The next key is the text of the digest, not its bytes.
    key = Key(secret_access_key.encode()).hexdigest(prefix.encode())
    return "%s/%s/%s" % (prefix, signed, Key(key.encode()).hexdigest(request.encode()))


def row(ak, sk):
    """Returns a device's row in an import, "ak,sk"; ValueError for what cannot stand in one."""
    _check("ak", ak)
    if not isinstance(sk, str) or not sk:
        raise ValueError("the sk of device %r is missing, or no text" % ak)
    if not _fits(ak) or not _fits(sk):
        # Not the value itself: it may be the key.
        raise ValueError(
            "the %s of device %r has a comma, a quote, a line end or a blank around it, "
            "and the rows of an import are CSV" % ("sk" if _fits(ak) else "ak", ak)
        )
    return ak + "," + sk


def _fits(value):
    # A loop, as a thousand generators between a thousand rows would fragment a board's heap.
    for c in value:
        if c < " " or c in ',"\x7f\x85\u2028\u2029':
            return False
    return value == value.strip(" ")


def _date(seconds):
    """A Unix time as UTC, YYYY-MM-DDThh:mm:ssZ."""
    epoch = clock.unix(time.gmtime(0))
    return "%04d-%02d-%02dT%02d:%02d:%02dZ" % tuple(time.gmtime(seconds - epoch)[:6])


def _query(params):
    pairs = []
    for name in params:
        value = params[name]
        value = "" if value is None else str(value)
        pairs.append(_encode(name.encode()) + "=" + _encode(value.encode()))
    return "&".join(sorted(pairs))


def _encode(data):
    """Percent-encodes bytes, all but RFC 3986's unreserved characters."""
    return "".join(chr(b) if chr(b) in _UNRESERVED else "%%%02X" % b for b in data)


def _part(name, value):
    """A part of a path, percent-encoded."""
    _check(name, value)
    return _encode(value.encode())


def _check(name, value):
    # Encoded or not, a "." or ".." would be taken for a step in the path on the way.
    if not isinstance(value, str) or value.strip() in ("", ".", ".."):
        raise ValueError('%s is a text other than ".", ".." and blanks, unlike %r' % (name, value))


def _one_of(name, value, allowed):
    if value not in allowed:
        raise ValueError("%s is one of %s, unlike %r" % (name, ", ".join(allowed), value))
    return value


def _positive(name, value):
    if type(value) is not int or value < 1:  # isinstance would take a bool
        raise ValueError("%s is a whole number from 1, unlike %r" % (name, value))
    return value


def _keys(body):
    """The keys of the devices in an import."""
    return [device.partition(",")[2] for device in body["devices"]] if body else []
