"""Progress of a command that takes minutes: what it is at, told as it goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Tell = Callable[[str], None]


@contextmanager
def steps(console: Console, total: int) -> Iterator[tuple[Tell, Callable[[], None]]]:
    """A bar of so many steps. Gives tell(text), for what it is at, and done(), for a step.

    Where there is no terminal each text is a line.
    """
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)

        def tell(text: str) -> None:
            progress.update(task, description=escape(text))
            if not console.is_terminal:
                console.print(escape(text))

        yield tell, lambda: progress.advance(task)
