"""The same attempts as fuzz makes, but each input grown from those that reached new code: atheris.

As a program, python -m endure.guided ATTEMPT SEED FOLDER, it is one of its processes.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.bench.pypi import install
from tools.common.paths import ROOT

LIB = ROOT / "lib"
ATHERIS = "atheris==3.0.0"
SECONDS = 15
PROCESSES = 2
SEEDS, LONGEST = 40, 2048
FAILED = "failed with "
# What libFuzzer says at its end.
RUNS = re.compile(r"^Done (\d+) runs", re.MULTILINE)


def explore(names: list[str], seed: int, tell: Callable[[str], None]) -> tuple[int, list[str], str]:
    """(how many inputs were tried, what failed, a note), of each attempt for some seconds."""
    with tempfile.TemporaryDirectory(prefix="muster-guided-") as name:
        folder = Path(name)
        tell(f"installing {ATHERIS}")
        if not install([ATHERIS], folder / "atheris"):
            return 0, [], "atheris cannot be had here"

        def one(name: str) -> tuple[int, str]:
            tell(f"{name}, guided by coverage")
            return guided(name, folder, seed)

        with ThreadPoolExecutor(PROCESSES) as pool:
            told = [*pool.map(one, names)]
    cases = sum(runs for runs, _ in told)
    return cases, [failure for _, failure in told if failure], f"{cases} of them guided by coverage"


def guided(name: str, folder: Path, seed: int) -> tuple[int, str]:
    """How many inputs one attempt was given, and what failed."""
    place = folder / name
    place.mkdir()
    found = (ROOT, ROOT / "tests", LIB, folder / "atheris")
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name, name, str(seed), place],
        cwd=place,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", LIB, folder / "atheris")))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode == 0 and (found := RUNS.search(done.stdout)):
        return int(found[1]), ""
    said = [line for line in done.stdout.splitlines() if line.startswith(FAILED)]
    return 0, f"{name} {said[0] if said else 'ended: ' + done.stdout[-500:]}"


def main(name: str, seed: str, folder: str) -> None:
    import atheris

    with atheris.instrument_imports(include=["muster"]):
        from endure import fuzz, fuzz_vm, strategies

    fuzz.log.level = fuzz_vm.SILENT

    def attempt(arguments: tuple) -> None:
        try:
            fuzz_vm.attempt(name, arguments)
        except Exception as e:
            print(f"{FAILED}{json.dumps(arguments)}: {type(e).__name__}: {e}", flush=True)
            raise

    # An example is made of some hundred bytes: of none, which libFuzzer would begin with, comes nothing.
    corpus = Path(folder) / "corpus"
    corpus.mkdir()
    dice = random.Random(int(seed))
    for n in range(SEEDS):
        (corpus / str(n)).write_bytes(dice.randbytes(LONGEST))
    one_input = fuzz.to_be_fed(strategies.strategies(folder)[name], attempt)
    options = [f"-seed={seed}", f"-max_total_time={SECONDS}", f"-max_len={LONGEST}", "-len_control=0"]
    atheris.Setup([name, *options, str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
