"""What a terminal may be shown of a text that came from elsewhere: a board, a cloud, a file."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with a blank in place of whatever a terminal would obey: escape sequences, overrides."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
