"""What flash takes from the log of a device that was just flashed."""

import contextlib

import pytest

from tools.factory import enrolment


class Heard:
    """What flash takes from a device that says these pieces, each within the time of one reading."""

    def __init__(self, *pieces):
        self.pieces, self.told = list(pieces), []
        with contextlib.suppress(ValueError):
            enrolment.wait_for_enrolment(self, 60, self.told.append, self.check)
            self.told.append("enrolled")

    def check(self):
        if not self.pieces:
            raise ValueError("it says nothing more")

    def readline(self):
        piece = self.pieces.pop(0)
        if piece is None:
            raise OSError("it is gone")
        return piece

    def open(self):
        pass

    close = open


SAYS = "muster: warning: chinamobile refused: "
ENDS = " (code 500); next try in 18 s\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [f"{SAYS}muster: enrolled as 1{ENDS}".encode()],
        [SAYS.encode(), b"muster: enrolled as 1\r\n"],  # a line that came in two pieces
        [SAYS.encode() + b"x" * 9000, b"muster: enrolled as 1\r\n"],
        [None, b"muster: enrolled as 1\r\n"],  # the end of a line, after its port was away
        [f"{SAYS}\rmuster: enrolled as 1{ENDS}".encode()],
        [b" muster: reported; the next report is due in 12 h 0 min\r\n"],
        [b"muster: enrolled as \r\n"],
    ],
)
def test_only_a_whole_line_of_the_devices_own_says_that_it_enrolled(pieces):
    assert "enrolled" not in Heard(*pieces).told


@pytest.mark.parametrize(
    "pieces",
    [
        [b"muster: enr", b"olled as 1234\r\n"],
        [b"rst:0x1\r\nmuster: joined x\r\n", b"muster: reported; the next report is due in 12 h 0 min\r\n"],
        [None, b"abc\r\n", b"muster: the next report is due in 12 h 0 min\r\n"],
    ],
)
def test_a_line_of_the_devices_own_does(pieces):
    assert Heard(*pieces).told[-1] == "enrolled"
