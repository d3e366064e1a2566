"""Why TLS with a server failed, whose fault that is, and what to do: loaded only when it does fail."""

from ..errors import CertificateDateError, TransportError

# What mbedTLS says, OpenSSL's X509_V_ERR_..., and the words for it.
_VERDICTS = (
    ("starts in the future", (9,), "it is not valid yet by this device's clock"),
    ("validity has expired", (10,), "it has expired"),
    ("Common Name", (62, 64), "it is for another name"),
    (
        "not correctly signed",
        (2, 18, 19, 20, 21),
        "no trusted root has signed it: its root must be among yours, and the server's chain in order",
    ),
    ("eyUsage", (26,), "it is not meant for a server: its operator needs one with the usage serverAuth"),
    ("unacceptable", (66, 67, 68), "its key or signature is too weak: its operator needs another"),
)

_USAGE = -0x7A00
_ALERT = -0x7780
_VERSION = -0x6E80
_NO_TLS = -0x7200
_NO_MEMORY = (12, -0x2880, -0x3F80, -0x4D80)
_HUNG_UP = (_ALERT, -0x7280, 32, 54, 104)  # or an end, EPIPE, ECONNRESET on two systems


def verdict(text, code=None):
    """Words for a verdict on a certificate: mbedTLS's text, or OpenSSL's text and code."""
    found = [words for part, codes, words in _VERDICTS if part in text or code in codes]
    return ", ".join(found) or text.strip()


def refused(host, fault, dates):
    """The exception for a certificate that was refused: a TransportError with refused = True.

    fault  mbedTLS's ValueError, or OpenSSL's
    dates  (notBefore, notAfter) of the certificate, None if they are not known
    """
    text = str(fault).strip()
    code = getattr(fault, "verify_code", None)
    sentence = "%s: its certificate was refused: %s" % (host, verdict(text, code))
    early = code == 9 or "starts in the future" in text
    misfit = TransportError(sentence)
    if "\n" not in text and (early or code == 10 or "validity has expired" in text):
        misfit = CertificateDateError(sentence)
        if dates and early:
            misfit.starts = dates[0]
    misfit.refused = True  # type: ignore[attr-defined]
    return misfit


def failure(code, reason="", shown=False):
    """Words for a TLS connection that failed, or None where the error says enough.

    code    mbedTLS's error, or a system's errno
    reason  OpenSSL's name for it
    shown   the server's certificate had been seen, and the handshake was not over
    """
    if code in _NO_MEMORY:
        return "there is no memory for it"
    if code == _USAGE:
        return "the server's certificate was refused: " + _VERDICTS[4][2]
    if code is not None and -0x3000 < code <= -0x2080:
        return (
            "the server's certificate, or one of its chain, is of a kind that this TLS cannot read, as with "
            "an RSA-PSS signature or critical name constraints: its operator needs another"
        )
    if code == _NO_TLS or reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "the server does not speak TLS: check the port"
    if code == _VERSION or reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"):
        return "the server has no version of TLS that is in use here: its operator must allow 1.2"
    if reason == "TLSV1_UNRECOGNIZED_NAME":
        return "the server does not know that name"
    if reason.endswith("CERTIFICATE_REQUIRED") or (shown and code in _HUNG_UP):
        return "the server seems to want a certificate of the client: its operator must not ask for one"
    if code == _ALERT or reason.endswith("HANDSHAKE_FAILURE"):
        return (
            "the server refuses it: its operator must allow TLS 1.2 with ECDHE, not 1.3 alone, know this "
            "name, and ask for no certificate of the client"
        )
    return None
