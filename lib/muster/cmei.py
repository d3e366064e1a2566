"""Makes and checks a CMEI or IMEI, after China Mobile's device access protocol.

Both have 15 digits: 8 of type code (TAC, or TUI for a CMEI, which starts with
11), 6 of serial number, 1 check digit.
"""


def _are_digits(text, count):
    return isinstance(text, str) and len(text) == count and text.strip("0123456789") == ""


def _luhn(digits):
    total = 0
    for i, digit in enumerate(digits.encode()):
        n = digit - 48 << (i & 1)
        total += n - 9 if n > 9 else n
    return str(-total % 10)


def make(type_code, serial):
    """Returns the 15 digits for a type code (8 digits, a str) and a serial number.

    serial   0 to 999999, or up to 6 digits as a str

    The last digit is Luhn's: an IMEI needs it, for a CMEI it is recommended.
    Raises ValueError.
    """
    if not _are_digits(type_code, 8):
        raise ValueError("type code %r: expected 8 digits in a str" % (type_code,))
    serial = str(serial)
    if not (1 <= len(serial) <= 6 and _are_digits(serial, len(serial))):
        raise ValueError("serial number %r: expected 0 to 999999" % (serial,))
    number = type_code + "0" * (6 - len(serial)) + serial
    return number + _luhn(number)


def check(number):
    """Returns None for a valid CMEI or IMEI, else raises ValueError.

    A CMEI starts with 11 and ends in any digit; an IMEI ends in Luhn's.
    """
    if not _are_digits(number, 15):
        raise ValueError("%r is no CMEI or IMEI: expected 15 digits in a string" % (number,))
    if not number.startswith("11") and number[14] != _luhn(number[:14]):
        raise ValueError(
            "%s is no IMEI: its last digit should be %s; compare it with the label"
            % (number, _luhn(number[:14]))
        )
