"""The same that test_fuzz reads, but each input grown from those that reached new code: atheris.

As a program, python -m endure.guided STRATEGY FOLDER [options of libFuzzer], it is the process that does it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.common.paths import ROOT

SEEDS, LONGEST = 40, 2048
# For so long it looks in the full form; in the short one it tries the seeds.
SECONDS = 15
FAILED = "failed with "
# What libFuzzer says at its end.
RUNS = re.compile(r"^Done (\d+) runs", re.MULTILINE)

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris has wheels for Linux on x86-64 and Python 3.11 to 3.13",
)


def explore(what: str, folder: Path, seed: int, full: bool, library: Path = ROOT / "lib") -> tuple[int, str]:
    """How many inputs were tried, and what failed."""
    corpus = folder / "corpus"
    corpus.mkdir()
    dice = random.Random(seed)
    # An example is made of some hundred bytes: of none, which libFuzzer would begin with, comes nothing.
    for n in range(SEEDS):
        (corpus / str(n)).write_bytes(dice.randbytes(LONGEST))
    options = [f"-seed={seed}", f"-max_len={LONGEST}", "-len_control=0", f"-artifact_prefix={folder}/"]
    options.append(f"-max_total_time={SECONDS}" if full else f"-runs={SEEDS}")
    places = (ROOT, library, ROOT / "tests", ROOT / "tests" / "lib")
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, what, *options, corpus],
        cwd=folder,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(map(str, places)),
            # Its tables of Unicode take seconds: made once, not again in each folder.
            "HYPOTHESIS_STORAGE_DIRECTORY": str(ROOT / ".hypothesis"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode == 0 and (runs := RUNS.search(done.stdout)):
        return int(runs[1]), ""
    said = [line for line in done.stdout.splitlines() if line.startswith(FAILED)]
    return 0, f"{what} {said[0] if said else 'ended: ' + done.stdout[-500:]}"


def main(what: str, *options: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["muster"]):
        from endure import profiles, strategies  # noqa: F401
        from endure.vm import readers
    from hypothesis import given
    from muster import log

    log.level = readers.SILENT

    @given(strategies.STRATEGIES[what])
    def read(arguments: tuple) -> None:
        try:
            readers.read(what.partition(":")[0], arguments)
        except Exception as e:
            print(f"{FAILED}{json.dumps(arguments)}: {type(e).__name__}: {e}", flush=True)
            raise

    atheris.Setup([what, *options], read.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
