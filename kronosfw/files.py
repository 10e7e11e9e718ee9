"""Files that are whole or absent, and file names made from data."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

_LONGEST = 120
_KEPT = 80


def write_atomically(path: Path, write: Callable[[BinaryIO], object], folder: Path | None = None) -> None:
    """Let ``write`` fill a file that then takes the place of ``path``; raises OSError.

    The file is made in ``folder``, on the same file system; beside ``path`` unless given.

    Whoever reads ``path``, even after a crash, finds the old content or the new one, never a part. When the
    call returns, the new content is on the disk.
    """
    aside = (folder or path.parent) / f".{secrets.token_hex(8)}.tmp"
    try:
        with aside.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; Windows does so by itself and cannot open folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made where there is none; raises BlockingIOError if another holds it.

    The system lets go of the lock when the process ends, however it does.
    """
    with path.open("ab") as file:
        _lock(file)
        yield


if sys.platform == "win32":

    def _lock(file: BinaryIO) -> None:
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from None

else:

    def _lock(file: BinaryIO) -> None:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def safe_name(symbol: str) -> str:
    """Return a name without extension that is safe as a file name and that no other symbol has.

    A long name ends in ``=`` and a part of its SHA-256; quoting leaves no other ``=``.
    """
    name = quote(symbol, safe="").replace(".", "%2E")
    if not name:
        raise ValueError("an empty symbol has no file name")
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_KEPT]}={hashlib.sha256(symbol.encode()).hexdigest()[:32]}"
