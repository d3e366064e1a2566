"""A request of HTTP/1.1 as data: its URL taken apart, its head in bytes."""


def split(url):
    """(scheme, host, port, path and query, Host header) of a URL; ValueError names what is wrong."""
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("http", "https"):
        raise ValueError("a URL starts with http:// or https://")
    # As bytes, also below: MicroPython keeps each letter of a text that is taken apart for ever.
    for byte in url.encode():
        if not 33 <= byte <= 126:
            raise ValueError("a URL is ASCII without spaces and line ends: percent-encode the others")
    rest = rest.partition("#")[0]
    authority = rest.partition("?")[0].partition("/")[0]
    path = rest[len(authority) :]
    if "@" in authority:
        raise ValueError("a URL with a user name is refused: use auth=")
    if authority[:1] == "[":
        host, bracket, port = authority[1:].partition("]")
        if not bracket or port[:1] not in ("", ":"):
            host = ""
        port = port[1:]
    else:
        host, _, port = authority.partition(":")
    port = port or ("443" if scheme == "https" else "80")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("a URL needs a host, and a port between 1 and 65535 if it names one")
    if path[:1] != "/":
        path = "/" + path
    return scheme, host.lower(), int(port), path, authority


def request_head(method, target, length, headers):
    """The request line and the headers, as bytes; ValueError for what cannot stand there.

    target   as split() gives it
    length   of the body; None if it goes out in chunks
    """
    lines = ["%s %s HTTP/1.1" % (method, target[3])]
    seen = ["transfer-encoding"]  # which is not the caller's to say
    for name, value in headers.items():
        if name.lower() in seen:
            raise ValueError("%r: this header is sent already" % name)
        if not name or " " in name or ":" in name or not isinstance(value, (str, int, float)):
            raise ValueError("%r: a header is a name without spaces and colons, and text" % name)
        lines.append("%s: %s" % (name, value))
        seen.append(name.lower())
    if "host" not in seen:
        lines.insert(1, "Host: " + target[4])
    if length is None:
        lines.append("Transfer-Encoding: chunked")
    elif "content-length" not in seen and (length or method in ("POST", "PUT", "PATCH")):
        lines.append("Content-Length: %d" % length)
    for line in lines:
        for byte in line.encode():
            if not 32 <= byte <= 126:
                # Not the line itself: it may be a secret.
                name = line.partition(":")[0]
                raise ValueError("%r: only ASCII without line ends may stand in a header" % name)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def given(headers, name):
    """What the caller's headers say under name; None if nothing."""
    for other in headers:
        if other.lower() == name:
            return headers[other]
    return None


def checked_length(length, headers):
    """length, which the caller's Content-Length must say too; ValueError otherwise."""
    said = given(headers, "content-length")
    if said is not None and str(said) != "%d" % length:
        # Not what was given: it may be a secret in the wrong place.
        raise ValueError("the Content-Length is not the number of bytes in data")
    return length
