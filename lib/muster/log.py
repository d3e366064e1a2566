"""One line of text for a person, through one function that a program can replace.

muster.log.write = lambda level, text: uart.write(text + "\\n")
"""

DEBUG = 10
INFO = 20
WARNING = 30

level = INFO


def write(level, text):
    print("muster: " + text)


def debug(text):
    if level <= DEBUG:
        write(DEBUG, text)


def info(text):
    if level <= INFO:
        write(INFO, text)


def warning(text):
    if level <= WARNING:
        write(WARNING, "warning: " + text)
