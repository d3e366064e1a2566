"""The real MicroPython that runs on a laptop: where it is, a program in it, and its clock."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tools.common.paths import ROOT

LIBRARY = (ROOT / "lib",)
# The library compiled, if somebody starts so many programs that what MicroPython compiles each time adds up.
compiled: Path | None = None
CPYTHON, MICROPYTHON = "CPython", "MicroPython"
# The VM is a library for CPython. This starts it as the script of its package does, in half the time: with -I
# and -S, CPython looks for nothing else. The VM's own handler of SIGINT leaves whatever runs, an allocation
# too, after which the heap may be locked for good. A second signal does what a chip's Ctrl-C does.
_START = """
import ctypes, sys
sys.path.append({folder!r})
import micropython_run
host, vm = ctypes.CDLL(None), ctypes.CDLL(micropython_run.__file__)
host.signal({interrupt}, vm.mp_sched_keyboard_interrupt)
host.siginterrupt({interrupt}, 1)
sys.argv[0] = "micropython"
sys.exit(micropython_run.run_main(sys.argv))
"""


class Interpreter(NamedTuple):
    """interrupt: the signal that raises KeyboardInterrupt in a program, between two bytecodes if it can."""

    command: list[str]
    what: str
    interrupt: int = signal.SIGINT


def find_micropython() -> Interpreter | None:
    """The MicroPython that boards run in: this .venv's, else one on PATH that has LittleFS, else None."""
    spec = importlib.util.find_spec("micropython_run")
    if spec and spec.origin:
        interrupt = int(signal.SIGUSR1)
        start = _START.format(folder=str(Path(spec.origin).parent), interrupt=interrupt)
        command = [sys.executable, "-I", "-S", "-c", start]
        return Interpreter(command, f"MicroPython of {sys.prefix}", interrupt)
    other = shutil.which("micropython")
    if other:
        needed = "import vfs; vfs.VfsLfs2; vfs.VfsPosix"
        if subprocess.run([other, "-c", needed], capture_output=True).returncode == 0:
            return Interpreter([other], f"MicroPython at {other}")
    return None


def machines() -> list[str]:
    """The interpreters on this computer that run the library: CPython, and MicroPython where there is one."""
    return [CPYTHON, MICROPYTHON] if find_micropython() else [CPYTHON]


def choose_vm(wanted: str | None = None) -> str:
    """What a board runs in: "micropython" where there is one and nothing else is wanted, else "cpython"."""
    if wanted == "micropython":
        _needed()
    return wanted or ("micropython" if find_micropython() else "cpython")


def _needed() -> Interpreter:
    micropython = find_micropython()
    if micropython is None:
        raise RuntimeError(
            "no MicroPython was found for this computer: install one with VfsLfs2 as `micropython` on PATH. "
            'A board runs without it too: vm="cpython".'
        )
    return micropython


def run(
    program: Path | str,
    *arguments: object,
    stdin: str = "",
    heap: int | None = None,
    paths: Sequence[Path | str] = LIBRARY,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    timeout: float | None = 120,
    machine: str = MICROPYTHON,
) -> subprocess.CompletedProcess[str]:
    """Runs a program in MicroPython to its end, whatever that is.

    program: a file, or with a str the program's text.  heap: bytes of the Python heap.
    paths: where modules are found, before the frozen ones.  folder: where it runs.
    machine: of machines().
    Raises RuntimeError without MicroPython, subprocess.TimeoutExpired after timeout seconds.
    """
    return subprocess.run(
        command(program, *arguments, heap=heap, machine=machine),
        input=stdin,
        cwd=folder,
        env=variables(paths) | (environment or {}),
        capture_output=True,
        # MicroPython makes something of half a surrogate pair that is no UTF-8.
        encoding="utf-8",
        errors="surrogatepass",
        timeout=timeout,
    )


def ask(program: Path | str, request: object, *arguments: object, **how: Any) -> Any:
    """Gives a program the request as a line of JSON. Returns what it prints last, which is JSON too.

    how: as run() takes it. Raises RuntimeError with what was printed if the program fails.
    """
    done = run(program, *arguments, stdin=json.dumps(request) + "\n", **how)
    if done.returncode != 0:
        name = program.name if isinstance(program, Path) else "the program"
        raise RuntimeError(f"{name} ended with status {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def command(
    program: Path | str, *arguments: object, heap: int | None = None, machine: str = MICROPYTHON
) -> list[str]:
    """The command that runs a program, for one that is started and talked to; see run()."""
    words = [str(program)] if isinstance(program, Path) else ["-c", program]
    words += map(str, arguments)
    if machine == CPYTHON:
        return [sys.executable, *words]
    return [*_needed().command, *(["-X", f"heapsize={heap}"] if heap else []), *words]


def variables(paths: Sequence[Path | str] = LIBRARY) -> dict[str, str]:
    """The environment in which a program finds its modules at these paths, on either machine."""
    found = [str(path) for path in paths]
    first = [str(compiled)] if compiled and tuple(paths) == LIBRARY else []
    return os.environ | {
        "MICROPYPATH": ":".join([*first, *found, ".frozen"]),
        "PYTHONPATH": os.pathsep.join(found),
    }


def find_faketime() -> Path | None:
    """The library that gives the VM, mbedTLS included, a clock of its own."""
    spec = importlib.util.find_spec("libfaketime") if sys.platform == "linux" else None
    if spec is None or spec.origin is None:
        return None
    library = Path(spec.origin).with_name("vendor") / "libfaketime/src/libfaketime.so.1"
    return library if library.exists() else None


def own_clock(library: Path, folder: Path) -> dict[str, str]:
    """The environment in which a process that starts in the folder has a clock of its own.

    library: of find_faketime(). The clock's offset to this computer's is in the folder's file "time": seconds
    with a sign. It may change while the process runs.
    """
    return {
        "LD_PRELOAD": preload(library, folder),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "time"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def preload(library: Path, folder: Path) -> str:
    """LD_PRELOAD for a process that starts in folder, by a link that is made there.

    A path with a blank in it cannot stand in LD_PRELOAD.
    """
    link = folder / "faketime.so"
    link.unlink(missing_ok=True)
    link.symlink_to(library)
    return f"./{link.name}"
