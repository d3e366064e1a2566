"""What the library's tests need on both machines."""


def raises(kind, function, *args, **kwargs):
    """Calls function and returns the exception of that kind which it must raise."""
    try:
        result = function(*args, **kwargs)
    except kind as e:
        return e
    raise AssertionError("expected %s, got %r" % (kind, result))
