"""The box's accounts, in files beside its CA that are ready for those who call it."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from tools.fleet import profile


def keep_profile(file: Path, base_url: str, accounts: dict[str, Callable[[], dict[str, str]]]) -> None:
    """Writes what `fleet --profile` reads: an earlier start's keys if the file has them, else new ones.

    Args:
        file: beside `ca.pem`.
        base_url: the box, which may have another port than at its last start.
        accounts: how to open each cloud's account; returns the keys.

    Raises:
        ValueError: the file is there, and is not such a profile.
    """
    if file.exists():
        try:
            known = {cloud: profile.load(cloud, file) for cloud in accounts}
        except ValueError as error:
            raise ValueError(f"{error}\nMend {file}, or delete it for new accounts.") from None
    else:
        known = {cloud: make() for cloud, make in accounts.items()}
    lines = ['ca = "ca.pem"']
    for cloud, keys in known.items():
        lines.append(f"\n[{cloud}]")
        # A string of JSON is one of TOML as well.
        named = {**keys, "base_url": base_url}
        lines += [f"{key} = {json.dumps(value)}" for key, value in named.items() if key != "ca"]
    _write(file, "\n".join([*lines, ""]))


def write_ai_tokens(file: Path, tokens: Iterable[tuple[str, str]]) -> None:
    """Writes pairs of productId and token as a CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("productId", "token"), *tokens])
    _write(file, text.getvalue())


def _write(file: Path, text: str) -> None:
    """All of it or what was there before, and for its owner's eyes only."""
    part = file.with_name(file.name + ".part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(text, encoding="utf-8")
    part.replace(file)
