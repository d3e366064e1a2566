"""PEM (RFC 7468) and DER (X.690), read once for keys and certificates (RFC 5280)."""

from binascii import a2b_base64

DAMAGED = "the key or certificate is damaged or cut short"


def blocks(pem):
    """Yields (label, body) of each block in PEM text: the body is base64 still.

    pem   bytes
    Raises ValueError if there is no block, or one without its end.
    """
    at = pem.find(b"-----BEGIN ")
    while True:
        start = pem.find(b"-----", at + 11)
        label = pem[at + 11 : start]
        end = pem.find(b"-----END " + label + b"-----", start)
        if not 0 <= at < start - 11 < end:
            raise ValueError("PEM text is missing or cut short: expected -----BEGIN to -----END")
        yield label, pem[start + 5 : end]
        at = pem.find(b"-----BEGIN ", end)
        if at < 0:
            return


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


def certificates(pem):
    """The DER of each certificate in PEM text.

    pem   bytes
    Returns a list of bytes; ValueError for anything else.
    """
    # a2b_base64 skips white space on both machines.
    found = [a2b_base64(body) for label, body in blocks(pem) if label == b"CERTIFICATE"]
    if not found:
        raise ValueError("this PEM text has no certificate")
    return found


def validity(der):
    """(notBefore, notAfter) of a certificate as Unix seconds; ValueError if it cannot be read.

    der   bytes or memoryview
    """
    at, end = 0, len(der)
    for _ in range(2):  # Certificate, TBSCertificate
        at, end = element(der, at, end, 0x30)
    if der[at : at + 1] == b"\xa0":  # version
        at = element(der, at, end)[1]
    for tag in b"\x02\x30\x30":  # serialNumber, signature, issuer
        at = element(der, at, end, tag)[1]
    at, end = element(der, at, end, 0x30)
    first, at = element(der, at, end)
    last, end = element(der, at, end)
    return _time(der[first:at]), _time(der[last:end])


def _time(digits):
    """Unix seconds of a UTCTime (yymmddhhmmssZ) or GeneralizedTime (yyyymmddhhmmssZ)."""
    from .clock import unix  # keys do without it

    digits = bytes(digits)
    if len(digits) == 13:
        digits = (b"20" if digits[:2] < b"50" else b"19") + digits
    if not digits[:14].isdigit() or digits[14:] != b"Z":
        raise ValueError(DAMAGED)
    return unix(int(digits[:4]), *[int(digits[i : i + 2]) for i in range(4, 14, 2)])
