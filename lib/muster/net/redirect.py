"""Where a redirect leads: loaded only when there is one."""

from ..errors import TransportError
from .request import given, split


def absolute(target, location):
    """The URL that a Location means (RFC 3986, 5.2).

    target   what was asked for: (scheme, host, port, path and query, Host header)
    """
    scheme, _, _, path, authority = target
    # Spaces and raw UTF-8 are common there.
    location = "".join(chr(c) if 33 <= c <= 126 else "%%%02X" % c for c in location.encode())
    location = location.partition("#")[0]
    if location[:2] == "//":
        location = scheme + ":" + location
    elif ":" not in location.partition("?")[0].partition("/")[0]:
        if not location:
            location = path
        elif location[:1] == "?":
            location = path.partition("?")[0] + location
        elif location[:1] != "/":
            location = path.partition("?")[0].rpartition("/")[0] + "/" + location
        location = "%s://%s%s" % (scheme, authority, location)
    location, mark, query = location.partition("?")
    scheme, separator, rest = location.partition("://")
    authority, _, path = rest.partition("/")
    parts = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part != ".":
            parts.append(part)
    if part in (".", ".."):
        parts.append("")
    return scheme + separator + authority + "/" + "/".join(parts) + mark + query


def follow(status, location, method, target, data, headers):
    """What to send where after a redirect: (method, target, data, headers)."""
    scheme, host = target[:2]
    try:
        new = split(absolute(target, location))
    except ValueError as e:
        raise TransportError("%s redirects to no usable address: %s" % (host, e))
    if new[:3] != target[:3]:
        secret = data is not None or given(headers, "authorization") is not None
        if secret or (scheme == "https" and new[0] != "https"):
            raise TransportError("%s redirects to %s, where this request must not go" % (host, new[1]))
        headers = {}
    if status == 303 or (status in (301, 302) and method == "POST"):
        headers = {name: headers[name] for name in headers if not name.lower().startswith("content-")}
        return "HEAD" if method == "HEAD" else "GET", new, None, headers
    if data is not None and not isinstance(data, (bytes, bytearray)):
        raise TransportError("%s redirects a body that cannot be sent twice" % host)
    return method, new, data, headers
