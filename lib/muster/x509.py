"""What a board has to read of certificates itself: PEM text, and the dates of validity (RFC 5280)."""

from .clock import unix

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"


def certificates(data):
    """The DER of each certificate in PEM text, or of the one that is DER already.

    data   bytes
    Returns a list of bytes; ValueError for anything else.
    """
    if data[:1] == b"\x30":
        return [data]
    from binascii import a2b_base64

    found = []
    start = data.find(_BEGIN)
    while start >= 0:
        end = data.find(_END, start)
        if end < 0:
            raise ValueError("a PEM certificate has no END line")
        # a2b_base64 stops at nothing: white space is skipped on both machines.
        found.append(a2b_base64(data[start + len(_BEGIN) : end]))
        start = data.find(_BEGIN, end)
    if not found:
        raise ValueError("neither a DER certificate nor PEM text with one")
    return found


def validity(der):
    """(notBefore, notAfter) of a certificate as Unix seconds; ValueError if it cannot be read.

    der   bytes or memoryview
    """
    certificate = _open(der, 0)  # Certificate
    at, _ = _open(der, certificate[0])  # TBSCertificate
    if der[at : at + 1] == b"\xa0":  # version
        at = _open(der, at)[1]
    for _ in range(3):  # serialNumber, signature, issuer
        at = _open(der, at)[1]
    start, end = _open(der, at)
    first_start, first_end = _open(der, start)
    last_start, last_end = _open(der, first_end)
    if last_end > end:
        raise ValueError("a certificate's dates do not fit")
    return (
        _time(bytes(der[first_start:first_end])),
        _time(bytes(der[last_start:last_end])),
    )


def _open(der, at):
    """Where the contents of the DER element at `at` start and end."""
    if at + 2 > len(der):
        raise ValueError("a certificate is cut short")
    length = der[at + 1]
    at += 2
    if length >= 0x80:
        octets = length & 0x7F
        if not 0 < octets < 4:
            raise ValueError("a certificate lies about its length")
        length = int.from_bytes(bytes(der[at : at + octets]), "big")
        at += octets
    if at + length > len(der):
        raise ValueError("a certificate is cut short")
    return at, at + length


def _time(digits):
    """Unix seconds of a UTCTime (yymmddhhmmssZ) or GeneralizedTime (yyyymmddhhmmssZ)."""
    if len(digits) == 13:
        digits = (b"20" if digits[:2] < b"50" else b"19") + digits
    if len(digits) != 15 or not digits[:14].isdigit() or digits[14:] != b"Z":
        raise ValueError("a certificate's date is not UTC")
    parts = [int(digits[i : i + 2]) for i in (4, 6, 8, 10, 12)]
    return unix(int(digits[:4]), *parts)
