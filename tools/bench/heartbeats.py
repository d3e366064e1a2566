"""A device's program that stays in the VM and reports as often as it is asked to."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tools.cloud import Cloud, Device
from tools.common import vm

PROGRAM = Path(__file__).parent / "vm" / "heartbeats.py"
HEAP = 256 * 1024  # of the program; a board of this repository's tests has twice that
TIMEOUT_S = 1


class Program:
    """vm/heartbeats.py in the VM, for as long as a `with` block lasts.

    pid: of its process.  library: the folder of muster.
    """

    def __init__(self, cloud: Cloud, device: Device, folder: Path, library: Path = vm.LIBRARY[0]) -> None:
        self._process = subprocess.Popen(
            vm.command(PROGRAM, heap=HEAP),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=vm.variables([library]),
            text=True,
        )
        self.pid = self._process.pid
        config = device.config(cloud.url, roots=str(cloud.ca_pem))
        self._tell(config, str(folder / "credentials"), TIMEOUT_S)

    def do(self, how: str, count: int) -> dict[str, Any]:
        """Reports in one of the program's ways. Returns what it tells; RuntimeError if it ended instead."""
        self._tell(how, count)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            return json.loads(line)
        except ValueError:
            raise RuntimeError(f"the VM ended: {line}{self._process.stdout.read()}") from None

    def _tell(self, *question: object) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has said why

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
