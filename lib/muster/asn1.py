"""DER (X.690), read once for keys and certificates (RFC 5280)."""

DAMAGED = "the key or certificate is damaged or cut short"


def element(der, at, end, tag=None):
    """Where the contents of the DER element at `at` start and end.

    der   bytes or memoryview
    end   where the element around it ends
    tag   the tag that it must have, None for any
    Raises ValueError.
    """
    if at + 2 <= end and tag in (None, der[at]):
        length = der[at + 1]
        at += 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(der[at : at + octets], "big")
            at += octets
        if at + length <= end:
            return at, at + length
    raise ValueError(DAMAGED)


def validity(der):
    """(notBefore, notAfter) of a certificate as Unix seconds; ValueError if it cannot be read.

    der   bytes or memoryview
    """
    at, end = _end(der, b"\x02\x30\x30")  # serialNumber, signature, issuer
    first, at = element(der, at, end)
    last, end = element(der, at, end)
    return _time(der[first:at]), _time(der[last:end])


def subject(der):
    """The contents of a certificate's subject, DER of its parts; ValueError if it cannot be read."""
    at, end = _end(der, b"\x02\x30\x30\x30")
    return der[at:end]


def _end(der, first):
    """Where the contents start and end of what follows the first parts of a certificate, given their tags."""
    at, end = 0, len(der)
    for _ in range(2):  # Certificate, TBSCertificate
        at, end = element(der, at, end, 0x30)
    if der[at : at + 1] == b"\xa0":  # version
        at = element(der, at, end)[1]
    for tag in first:
        at = element(der, at, end, tag)[1]
    return element(der, at, end, 0x30)


def _time(digits):
    """Unix seconds of a UTCTime (yymmddhhmmssZ) or GeneralizedTime (yyyymmddhhmmssZ)."""
    from .clock import unix  # keys do without it

    digits = bytes(digits)
    if len(digits) == 13:
        digits = (b"20" if digits[:2] < b"50" else b"19") + digits
    if not digits[:14].isdigit() or digits[14:] != b"Z":
        raise ValueError(DAMAGED)
    return unix([int(digits[:4])] + [int(digits[i : i + 2]) for i in range(4, 14, 2)])
