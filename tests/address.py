"""Where the servers of tests are: at this computer's address, as whoever runs the test reaches it."""

import pytest

HERE = "127.0.0.1"

address = HERE
why_not = ""  # it is reached at none


def here():
    if why_not:
        pytest.skip(why_not)
    return address


def only_here():
    """Skips a test of which a server can be reached on this computer alone."""
    if here() != HERE:
        pytest.skip(
            f"it needs a server that has no address but this computer's own; the board knows {address}"
        )
