"""What the operator can do about an error: a sentence for each code of the clouds' error tables."""

import time

from muster import CloudError

from .profile import NAMES
from .session import ProxyFailed, misdated, untrusted, words

_AGAIN = "then give the same command again."
_WAIT = "failed by itself: wait some minutes, " + _AGAIN
_OURS = "The request itself is at fault, and so is this program: please report it, with the log id."
_SITE = (
    " coze.cn and coze.com do not know each other's keys: base_url must be https://api.coze.cn or "
    "https://api.coze.com, the one where the key was made."
)

# No other device will fare better, so the run stops at once.
_FATAL = {
    "baidu": {
        "1": "fc is missing: put the vendor's id, as Baidu's console shows it, into the profile.",
        "2": "pk is missing: put the product's id, as Baidu's console shows it, into the profile.",
        "3": "Baidu knows no such vendor: compare fc in the profile with Baidu's console.",
        "4": "The vendor has no such product: compare pk in the profile with Baidu's console.",
        "6": "More than 1000 devices were in one import. " + _OURS,
        "9": "Baidu found no devices in the request. " + _OURS,
        "10": "The quota of devices is used up. Buy more in Baidu's console (deleting devices gives none "
        "back), " + _AGAIN,
        "AccessDenied": "This Access Key may not manage these devices: let the account's owner permit it, "
        "or use another account's access_key_id and secret_access_key.",
        "InvalidAccessKeyId": "Baidu knows no such Access Key: compare access_key_id with the console's list "
        "of keys.",
        "InvalidHTTPAuthHeader": "Baidu cannot read the signature: look for blanks or foreign characters in "
        "access_key_id and secret_access_key.",
        "InvalidHTTPRequest": "Baidu cannot read the request's body. " + _OURS,
        "MalformedJSON": "Baidu cannot read the request's JSON. " + _OURS,
        "InvalidVersion": "Baidu no longer has version 2 of this call, or base_url is wrong.",
        "OptInRequired": "Switch the Dujia AIoT voice service on in Baidu's console, " + _AGAIN,
        "PreconditionFailed": "Something on the way adds If-Match to requests: go round that proxy.",
        "RequestExpired": "This computer's clock is wrong by half an hour or more: set it, " + _AGAIN,
        "IdempotentParameterMismatch": "Something on the way repeats requests with other contents: go round "
        "that proxy.",
        "SignatureDoesNotMatch": "secret_access_key does not belong to access_key_id: copy both once more "
        "from the console.",
    },
    "feishu": {
        "1780102": "The call is in beta testing: ask Feishu's support to admit this tenant.",
        "10003": "Feishu does not accept app_id or app_secret: copy both once more from its console.",
        "10014": "app_id or app_secret is wrong: copy both once more from Feishu's console.",
        "99991661": "No token arrived: something on the way takes Authorization off requests.",
        "99991663": "The token is no longer valid: put a new one into the profile, " + _AGAIN,
        "99991672": "The app lacks the permission security_and_compliance:device_record:write: ask for it in "
        "Feishu's console, publish a version of the app, " + _AGAIN,
    },
    "coze": {
        "4000": "Coze does not accept the request: compare --key with what was agreed on with Coze.",
        "4100": "The token is not valid, or no longer: put a new one into the profile." + _SITE,
        "4101": "The token lacks the permission bindConnectorConfig, or Coze has not switched device binding "
        "on for this channel: ask your Coze account manager.",
        "4200": "Coze knows no such channel: compare --connector-id with its page of channels.",
        "700012006": "The token is not valid, or no longer: put a new one into the profile." + _SITE,
        "access_deny": "The OAuth app may not do this: look at its permissions in Coze's console.",
        "invalid_client": "client_id, key_id and private_key do not belong together: compare them." + _SITE,
        "invalid_request": "Coze refuses the signed token: compare client_id, key_id and the clock." + _SITE,
        "unsupported_grant_type": "The OAuth app is not of the type JWT: make one that is.",
    },
}

# This call failed, and the next may not; when nothing else comes back, the run stops.
_PASSING = {
    "baidu": {
        "8": "Baidu could not read the list of devices: give the same command again.",
        "12": "Baidu could not make the speech file: give the same command again.",
        "InappropriateJSON": "Baidu does not accept what stands in the request: correct this row.",
        "InternalError": "Baidu " + _WAIT,
        "InvalidURI": "Baidu cannot read the address made from fc, pk and ak: correct them.",
    },
    "feishu": {
        "1780001": f"Feishu {_WAIT} If that does not help, send the log id to Feishu's support.",
        "99991400": "Too many calls a second: lower --rate, or end what else uses this app.",
    },
    "coze": {"5000": "Coze " + _WAIT, "internal_error": "Coze " + _WAIT},
}

# It is about one device: the others may fare better.
_DEVICE = {
    "baidu": {
        "5": "Baidu cannot read this device's ak or sk: correct them in the input.",
        "7": "A device with this ak is there already: give this one an ak that no other has.",
        "11": "The product has no such device: compare the ak with Baidu's list (fleet list).",
    },
    "feishu": {
        "1780101": "Feishu does not accept a value of this row: correct it.",
        "1785005": "The identifiers do not fit device_system: a computer has a serial_number, "
        "disk_serial_number or uuid, Android an android_id, iOS an idfv, OpenHarmony an aaid.",
        "1785007": "device_system is 1 Windows, 2 macOS, 3 Linux, 4 Android, 5 iOS or 6 OpenHarmony: "
        "correct it.",
        "1785010": "Feishu has this device already: nothing is left to do.",
    },
    "coze": {},
}

# Refused as well what a wrong clock has signed, or takes for valid still.
_DATED = {
    "baidu": ("RequestExpired", "SignatureDoesNotMatch"),
    "coze": ("4100", "700012006", "invalid_client", "invalid_request"),
    "feishu": (),
}
CLOCK_S = 30


def sentence(error: Exception, ahead: int = 0) -> str:
    """What went wrong, and what to do about it.

    Args:
        ahead: seconds by which this computer's clock is ahead of the server's.
    """
    text = words(error)
    return f"{text}{'' if text.endswith(('.', '!', '?', '。')) else '.'} {remedy(error, ahead)}"


def remedy(error: Exception, ahead: int = 0) -> str:
    """What to do about an error, in a sentence."""
    if isinstance(error, ProxyFailed):
        return error.remedy
    if not isinstance(error, CloudError):
        if misdated(error):
            now = time.strftime("%Y-%m-%d %H:%M")
            return f"By this computer's clock it is {now}: set this computer's clock if it is not, {_AGAIN}"
        if untrusted(error):
            return (
                "The server is not the one that base_url names, or its CA is unknown here: compare base_url, "
                "and name a CA of your own with ca in the profile or MUSTER_CA."
            )
        return "Look at the network and at base_url, " + _AGAIN
    cloud, code, name = error.cloud, str(error.code), NAMES[error.cloud]
    if code in _DATED[cloud] and abs(ahead) > CLOCK_S:
        side = "ahead of" if ahead > 0 else "behind"
        return f"This computer's clock is {_length(abs(ahead))} {side} the server's: set it, {_AGAIN}"
    for table in _FATAL, _PASSING, _DEVICE:
        if code in table[cloud]:
            return table[cloud][code]
    if error.status == 429:
        return f"Too many calls for {name}: give the same command again, with a lower --rate."
    if error.status in (401, 403):
        return f"{name} does not let this account do that: look at its keys and permissions."
    if error.retryable:
        return f"{name} {_WAIT}"
    return f"{name}'s documents do not explain this: ask its support, with the log id if there is one."


def _length(seconds: int) -> str:
    """So many seconds, in the largest unit of which there are two."""
    units = (("days", 86400), ("hours", 3600), ("minutes", 60), ("seconds", 1))
    name, size = next((name, size) for name, size in units if seconds >= 2 * size)
    return f"{round(seconds / size)} {name}"


def fatal(error: Exception) -> bool:
    """True if no other device will fare better."""
    if not isinstance(error, CloudError):
        return True
    cloud, code = error.cloud, str(error.code)
    known = code in _PASSING[cloud] or code in _DEVICE[cloud]
    return code in _FATAL[cloud] or (error.status in (401, 403) and not known)


def strange(error: Exception) -> bool:
    """True if it may have nothing to do with the device that it befell."""
    return not isinstance(error, CloudError) or str(error.code) not in _DEVICE[error.cloud]
