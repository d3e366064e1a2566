"""One line of text for a person, through one function that a program can replace.

    muster.log.write = lambda level, text: uart.write(text + "\\n")

What is below level, INFO or WARNING, is not written.
"""

from .errors import line

INFO = 20
WARNING = 30

level = INFO
_said = []


def write(level, text):
    """Shows one line of text."""
    print("muster: " + text)


def info(text):
    """What a person may like to know."""
    if level <= INFO:
        write(INFO, line(text))


def warning(text):
    """What a person should know."""
    if level <= WARNING:
        write(WARNING, "warning: " + line(text))


def warn_once(text):
    """A warning that nobody needs to hear again."""
    if text not in _said:
        _said.append(text)
        warning(text)
