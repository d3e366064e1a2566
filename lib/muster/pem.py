"""PEM (RFC 7468), read once for keys and certificates."""

from binascii import a2b_base64


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


def certificates(data):
    """The DER of each certificate in PEM text, or of the one that is DER already.

    data   bytes
    Returns a list of bytes; ValueError for anything else.
    """
    if data[:1] == b"\x30":
        return [data]
    # a2b_base64 skips white space on both machines.
    found = [a2b_base64(body) for label, body in blocks(data) if label == b"CERTIFICATE"]
    if not found:
        raise ValueError("this PEM text has no certificate")
    return found
