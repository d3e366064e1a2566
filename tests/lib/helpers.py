"""What the library's tests need on both machines."""


def raises(kind, function, *args, **kwargs):
    """Calls function and returns the exception of that kind which it must raise."""
    try:
        result = function(*args, **kwargs)
    except kind as e:
        return e
    raise AssertionError("expected %s, got %r" % (kind, result))


def failing(function, at, fault):
    """A function of one argument that does the same, but for its call of that number, which raises fault."""
    left = [at]

    def call(argument):
        left[0] -= 1
        if not left[0]:
            raise fault
        return function(argument)

    return call
