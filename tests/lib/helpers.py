"""What the library's tests need on both machines."""

from muster import log


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


class replaced:
    """While in `with`, names of a module or a class stand for something else."""

    def __init__(self, owner, **names):
        self.owner, self.names = owner, names

    def __enter__(self):
        self.was = {name: getattr(self.owner, name) for name in self.names}
        self.set(self.names)

    def __exit__(self, *_):
        self.set(self.was)

    def set(self, names):
        for name in names:
            setattr(self.owner, name, names[name])


class logged(replaced):
    """While in `with`, what is logged goes into a list."""

    def __init__(self):
        self.lines = []
        super().__init__(log, write=lambda level, text: self.lines.append(text))

    def __enter__(self):
        super().__enter__()
        return self.lines


def lines_of(function, *args):
    """What function logs, as one text."""
    with logged() as lines:
        function(*args)
    return "\n".join(lines)
