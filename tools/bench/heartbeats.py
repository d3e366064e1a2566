"""A device's program that stays in the VM and reports as often as it is asked to; what it holds meanwhile."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.cloud import Cloud, Device
from tools.common.paths import ROOT
from tools.common.vm import find_micropython

PROGRAM = Path(__file__).parent / "vm" / "heartbeats.py"
HEAP = 256 * 1024  # of the program; a board of this repository's tests has twice that
TIMEOUT_S = 1

# The smallest leak is 32 bytes of this VM's heap; once in a hundred heartbeats would be 3 KB at the end.
HEAP_SLACK = 1024
RESIDENT_SLACK_KB = 256


@dataclass
class Held:
    """What a process holds: bytes of Python's heap, kilobytes of all its memory, open files, sockets."""

    heap: int
    resident: int = 0
    files: int = 0
    sockets: int = 0

    @classmethod
    def by(cls, pid: int, heap: int) -> Held:
        process = Path(f"/proc/{pid}")
        if not process.exists():
            return cls(heap)  # no Linux: the heap is all there is to see
        found = [os.readlink(entry) for entry in (process / "fd").iterdir()]
        match = re.search(r"RssAnon:\s*(\d+)", (process / "status").read_text())
        sockets = sum(name.startswith("socket:") for name in found)
        return cls(heap, int(match.group(1)) if match else 0, len(found), sockets)

    def __str__(self) -> str:
        return (
            f"heap {self.heap:,} bytes, resident {self.resident:,} KB, "
            f"{self.files} open files, {self.sockets} of them sockets"
        )

    def compare(self, before: Held) -> Iterator[str]:
        if self.heap > before.heap + HEAP_SLACK:
            yield f"the heap grew from {before.heap:,} to {self.heap:,} bytes"
        if self.resident > before.resident + RESIDENT_SLACK_KB:
            yield f"the process grew from {before.resident:,} to {self.resident:,} KB"
        if (self.files, self.sockets) != (before.files, before.sockets):
            yield f"{before.files} files and {before.sockets} sockets became {self.files} and {self.sockets}"


class Program:
    """vm/heartbeats.py in the VM."""

    def __init__(self, cloud: Cloud, device: Device, folder: Path) -> None:
        micropython = find_micropython()
        assert micropython is not None
        self._said: list[str] = []
        self._process = subprocess.Popen(
            [*micropython.command, "-X", f"heapsize={HEAP}", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"MICROPYPATH": f"{ROOT / 'lib'}:.frozen"},
            text=True,
        )
        config = device.config(cloud.url, roots=str(cloud.ca_pem))
        self._pid = self._ask(config, str(folder / "credentials"), TIMEOUT_S)

    def do(self, how: str, count: int) -> tuple[dict[str, Any], Held]:
        told = self._ask(how, count)
        return told, Held.by(self._pid, told["heap"])

    @property
    def said(self) -> str:
        return "".join(self._said)

    def _ask(self, *question: object) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has said why
        line = self._process.stdout.readline()
        self._said.append(line)
        try:
            return json.loads(line)
        except ValueError:
            raise RuntimeError(f"the VM ended: {line}{self._process.stdout.read()}") from None

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
