"""What came of trying."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

# Of all that is drawn, in the tests too, unless another is asked for: what failed can be seen again.
SEED = int(os.environ.get("MUSTER_SEED", "1"))


@dataclass
class Verdict:
    """Of one kind of trouble.

    cases: how many were tried. failures: a sentence each, with what is needed to see it again.
    losses: secrets that were lost. note: what a reader of the table should know, the seed first if it
    draws anything. interrupted: Ctrl-C ended it.
    """

    name: str
    cases: int = 0
    failures: list[str] = field(default_factory=list)
    losses: int = 0
    note: str = ""
    interrupted: bool = False
