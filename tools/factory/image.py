"""LittleFS images of the vfs partition, as the ESP32 port formats and mounts it.

Source: extmod/vfs_lfsx.c and extmod/vfs_lfs.c of MicroPython for the parameters and the time attribute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from littlefs import LittleFS, LittleFSError
from littlefs.context import UserContext

BLOCK = 4096
# The vfs partition of the ESP32 port on 4 MB of flash.
BLOCKS = 512
# What VfsLfs2 of MicroPython 1.26 and later writes itself.
DISK_VERSION = 0x0002_0001
# What VfsLfs2 keeps with each file: nanoseconds since 1970, 64 bits, little-endian.
MTIME = 1

ROOT = Path(__file__).resolve().parents[2]
STATE = "/state/"  # what the device itself wrote
PEM = b"-----BEGIN "


def board_image(
    config: Mapping | Path,
    roots: Mapping[str, bytes | Path] | Sequence[Path] = (),
    before: Mapping[str, bytes] | None = None,
    more: Mapping[str, bytes] | None = None,
    blocks: int = BLOCKS,
) -> bytes:
    """An image of the whole product, as board_files() collects it and as old as its newest source.

    before: the files that were on flash, of which the device's own records are kept. more: further files.
    """
    kept = {path: data for path, data in (before or {}).items() if path.startswith(STATE)}
    return build({**kept, **board_files(config, roots), **(more or {})}, blocks, newest(sources()))


def newest(paths: Sequence[Path]) -> int:
    """Unix seconds at which the last of the files was written."""
    return int(max(path.stat().st_mtime for path in paths))


def sources(root: Path = ROOT) -> list[Path]:
    """The files of the repository that go onto a board."""
    return [root / "boot.py", root / "main.py", *sorted((root / "lib").rglob("*.py"))]


def build(files: Mapping[str, bytes], blocks: int, built: int) -> bytes:
    """An image of blocks times 4,096 bytes that holds files.

    files: path -> content; directories are made. built: Unix seconds, the time that every file carries.
    The same arguments give the same bytes. Raises ValueError when the files do not fit.
    """
    filesystem = _filesystem(UserContext(buffer=bytearray(b"\xff" * blocks * BLOCK)), blocks)
    mtime = (built * 1_000_000_000).to_bytes(8, "little")
    try:
        filesystem.format()
        filesystem.mount()
        for path in sorted(files):
            if "/" in path.strip("/"):
                filesystem.makedirs(path.strip("/").rpartition("/")[0], exist_ok=True)
            with filesystem.open(path, "wb") as f:
                f.write(files[path])
            filesystem.setattr(path, MTIME, mtime)
    except LittleFSError as error:
        if error.code != LittleFSError.Error.LFS_ERR_NOSPC:
            raise
        content = sum(map(len, files.values()))
        raise ValueError(
            f"{len(files)} files of {content} bytes do not fit into {blocks} blocks of {BLOCK} bytes: "
            "leave files out or choose a larger partition."
        ) from None
    filesystem.unmount()
    return bytes(filesystem.context.buffer)


def read(image: bytes) -> dict[str, bytes]:
    """The files in an image: path -> content. Raises ValueError when there is no file system in it."""
    filesystem = _filesystem(UserContext(buffer=bytearray(image)), len(image) // BLOCK)
    try:
        filesystem.mount()
    except LittleFSError as error:
        raise ValueError(f"this is not a LittleFS image of {BLOCK}-byte blocks: {error}") from None
    files = {}
    for folder, _, names in filesystem.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with filesystem.open(path, "rb") as f:
                files[path] = f.read()
    return files


def board_files(
    config: Mapping | Path, roots: Mapping[str, bytes | Path] | Sequence[Path] = (), root: Path = ROOT
) -> dict[str, bytes]:
    """What goes onto a board: boot.py, main.py, lib/, the configuration and the CA roots.

    config: the configuration, or the path of its JSON file. roots: certificates, PEM or DER, as paths or as
    name -> bytes or path; each becomes /roots/<name>.der. Raises ValueError for what is not a certificate.
    """
    files = {f"/{path.relative_to(root).as_posix()}": path.read_bytes() for path in sources(root)}
    files["/config.json"] = (
        config.read_bytes() if isinstance(config, Path) else json.dumps(config, ensure_ascii=False).encode()
    )
    named = roots if isinstance(roots, Mapping) else {path.stem: path for path in roots}
    for name, certificate in named.items():
        files[f"/roots/{name}.der"] = _der(name, certificate)
    return files


def _der(name: str, certificate: bytes | Path) -> bytes:
    data = certificate.read_bytes() if isinstance(certificate, Path) else certificate
    try:
        loaded = x509.load_pem_x509_certificate(data) if PEM in data else x509.load_der_x509_certificate(data)
    except ValueError:
        raise ValueError(
            f"the CA root {name!r} is not a certificate in PEM or DER: {len(data)} bytes."
        ) from None
    return loaded.public_bytes(Encoding.DER)


def _filesystem(context: UserContext, blocks: int) -> LittleFS:
    return LittleFS(
        context=context,
        mount=False,
        block_size=BLOCK,
        block_count=blocks,
        read_size=32,
        prog_size=32,
        cache_size=128,
        lookahead_size=32,
        block_cycles=100,
        disk_version=DISK_VERSION,
    )
