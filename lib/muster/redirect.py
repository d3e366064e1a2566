"""Where a redirect leads: loaded only when there is one."""


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
