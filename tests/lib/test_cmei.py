from helpers import raises
from muster import cmei

# The IMEIs are examples from public documents; the CMEIs use the protocol's example type code.
IMEIS = ("490154203237518", "356938035643809", "352099001761481")


def test_make_ends_in_luhns_digit():
    for number in IMEIS:
        assert cmei.make(number[:8], number[8:14]) == number
        assert cmei.make(number[:8], int(number[8:14])) == number


def test_make_pads_the_serial_number():
    assert cmei.make("11123456", 0)[:14] == "11123456000000"
    assert cmei.make("11123456", "42")[:14] == "11123456000042"
    assert cmei.make("11123456", 999999)[:14] == "11123456999999"
    assert cmei.make("11123456", 7) == cmei.make("11123456", "000007")


def test_make_of_every_serial_number_passes_check_as_an_imei_and_as_a_cmei():
    for serial in range(0, 1000000, 9973):
        cmei.check(cmei.make("49015420", serial))
        cmei.check(cmei.make("11123456", serial))


def test_make_refuses_what_is_no_number():
    for code in ("1112345", "111234567", "1112345x", "", 11123456, None, "1112345\uff11"):
        assert "8 digits" in str(raises(ValueError, cmei.make, code, 1))
    for serial in (-1, 1000000, "", "1234567", "12a", " 1", None, 1.5, True, "\uff11"):
        assert "0 to 999999" in str(raises(ValueError, cmei.make, "11123456", serial))


def test_check_of_an_imei_wants_luhns_digit():
    for number in IMEIS:
        assert cmei.check(number) is None
        for digit in "0123456789":
            if digit != number[14]:
                e = raises(ValueError, cmei.check, number[:14] + digit)
                assert "last digit should be " + number[14] in str(e)


def test_check_of_a_cmei_takes_any_last_digit():
    for digit in "0123456789":
        assert cmei.check("11123456000001" + digit) is None


def test_check_finds_one_wrong_digit_anywhere_in_an_imei():
    number = IMEIS[0]
    for i in range(15):
        wrong = str((int(number[i]) + 1) % 10)
        raises(ValueError, cmei.check, number[:i] + wrong + number[i + 1 :])


def test_check_refuses_what_has_no_15_digits():
    for number in (
        "",
        "1112345600000",
        "1112345600000123",
        "11123456000001x",
        111234560000012,
        None,
        ["1"] * 15,
    ):
        assert "15 digits" in str(raises(ValueError, cmei.check, number))
