"""JSON as the library reads and writes it, the same on both machines.

Only MicroPython's parser takes a little more than JSON: a comma that is missing, for one.
"""

import io
import json

from .memory import MICROPYTHON
from .redact import Masked, copied

_READING: dict = {}
_WRITING: dict = {"separators": (",", ":")}
if not MICROPYTHON:
    _READING["parse_constant"] = int  # which refuses NaN and Infinity, as JSON does
    _WRITING["ensure_ascii"] = False

_PLAIN = (str, int, bool)  # made once: a check must not cost memory


def loads(text):
    """Returns the value in JSON text, a str or UTF-8 bytes.

    An escaped pair of surrogates is the character that it stands for, half of one is
    U+FFFD; a byte-order mark is passed over. Raises ValueError for what is no JSON,
    too large or nested too deeply.
    """
    stream = None
    try:
        data = text.encode() if isinstance(text, str) else text
        if data[:3] == b"\xef\xbb\xbf":
            data = data[3:]
        if b"\\ud" in data or b"\\uD" in data:
            data = _paired(data)
        if _halved(data) or b"\x00" in data:  # UTF-16, which CPython would take
            problem = "not UTF-8, the encoding of JSON"
        else:
            stream = io.BytesIO(data)
            return json.load(stream, **_READING)
    except UnicodeError:
        problem = "not UTF-8, the encoding of JSON"
    except ValueError as e:
        # MicroPython says only that it failed, but stops reading there.
        line = getattr(e, "lineno", 0) or data[: stream.tell()].count(b"\n") + 1
        problem = "not JSON: look at line %d or just before it" % line
    except (MemoryError, RuntimeError):
        problem = "too large, or nested too deeply"
    # Raised out here: the exceptions of CPython's json carry the whole text, secrets and all.
    raise ValueError("this is " + problem)


def dumps(value):
    """Returns a value as compact JSON, UTF-8 bytes, the secrets of a Masked in it as they are.

    Raises TypeError for what JSON cannot hold; ValueError for infinity and NaN, for half
    of a surrogate pair, and for what is nested too deeply.
    """
    problem = "text with half of a surrogate pair is no JSON"
    try:
        # MicroPython's json writes what it cannot read again, and *** out of a Masked.
        if _checked(value):
            value = copied(value, False)
        data = json.dumps(value, **_WRITING).encode()
        if not _halved(data):
            return data
    except UnicodeError:
        pass
    except RuntimeError:
        problem = "what is nested too deeply, or holds itself, is no JSON"
    raise ValueError(problem)


def _checked(value):
    """Whether there is a Masked in it; raises for what is no JSON."""
    if value is None or isinstance(value, _PLAIN):
        return False
    if isinstance(value, dict):
        found = isinstance(value, Masked)
        for name in value:
            if not isinstance(name, str):
                raise TypeError("the names in a JSON object are text, not %s" % type(name).__name__)
            item = value[name]
            if not isinstance(item, _PLAIN) and _checked(item):  # mostly without a call
                found = True
        return found
    if type(value) is list or type(value) is tuple:  # MicroPython writes a named tuple by its name
        found = False
        for item in value:
            if _checked(item):
                found = True
        return found
    if not isinstance(value, float):
        raise TypeError(
            "JSON holds text, numbers, True, False, None, lists and dicts, not %s" % type(value).__name__
        )
    if value - value != 0:
        raise ValueError("infinity and NaN are no JSON")
    return False


def _paired(data):
    """JSON without escaped surrogates, of which MicroPython makes characters that are none."""
    parts = []
    start = 0
    at = data.find(b"\\")
    while at >= 0:
        end = at + 2  # past a backslash that is escaped itself
        unit = _surrogate(data, at)
        if unit:
            end = at + 6
            low = _surrogate(data, end)
            character = "\ufffd"
            if unit < 0xDC00 <= low:
                character = chr(0x10000 + ((unit - 0xD800) << 10) + low - 0xDC00)
                end += 6
            parts.append(data[start:at])
            parts.append(character.encode())
            start = end
        at = data.find(b"\\", end)
    parts.append(data[start:])
    return b"".join(parts)


def _surrogate(data, at):
    """The surrogate that is escaped there, 0 if there is none."""
    try:
        unit = int(data[at + 2 : at + 6].decode(), 16) if data[at : at + 2] == b"\\u" else 0
    except ValueError:
        return 0
    return unit if unit >> 11 == 27 else 0


def _halved(data):
    """Whether a surrogate stands in UTF-8, where MicroPython lets it pass."""
    at = data.find(b"\xed")
    while at >= 0:
        if data[at + 1 : at + 2] > b"\x9f":
            return True
        at = data.find(b"\xed", at + 1)
    return False
