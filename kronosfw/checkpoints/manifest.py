"""What a version says of itself, and whether its files are what it says."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, cast

from ..errors import DamagedCheckpoint
from ..types import Checkpoint, State, moment
from .layout import ADDED, MANIFEST, is_version, own_bytes, titled
from .unsafe import SEEN, unsafe
from .verdicts import standing

FORMAT = 1


def read(folder: Path, asset_class: str | None) -> Checkpoint:
    """Return the checkpoint in a folder, without a look at its weights.

    Raises OSError, ValueError, KeyError, TypeError or AttributeError where it is none.
    """
    content: dict[str, Any] = json.loads(own_bytes(folder / MANIFEST))
    until = content.get("train", {}).get("until")
    return Checkpoint(
        version=folder.name,
        path=folder,
        forecaster=str(content["forecaster"]),
        asset_class=asset_class,
        metrics={str(name): float(value) for name, value in content.get("metrics", {}).items()},
        state=_state(folder, guarded=bool(content.get("guarded"))),
        trained_until=None if until is None else moment(str(until).removesuffix("Z")),
    )


def _state(folder: Path, *, guarded: bool) -> State:
    stands = standing(folder)
    if stands is None:
        return "candidate" if guarded else "ready"
    return "ready" if stands else "rejected"


def contents(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the SHA-256 and the size of every file in a folder, by relative path; raises OSError.

    What was added to a version after it was published is left out.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in ADDED:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[name] = {"sha256": digest, "size": path.stat().st_size}
    return found


def verify(folder: Path, manifest_hash: str | None = None) -> str:
    """Read a version whole and return the SHA-256 of its manifest.

    Raises DamagedCheckpoint, saying which file differs and how, unless the version consists of exactly the files
    that its manifest lists and each has the size and the SHA-256 it states; ``manifest_hash`` is what the manifest
    itself must have. Follows no link, and looks at nothing outside the folder.
    """
    try:
        return _verify(folder, manifest_hash)
    except FileNotFoundError as error:
        raise _damaged(folder, f"{Path(str(error.filename)).name} is missing") from None
    except OSError as error:
        raise _damaged(folder, f"cannot be read: {error.strerror or error}") from error


def _verify(folder: Path, manifest_hash: str | None) -> str:
    if not is_version(folder.name):
        raise _damaged(folder, "is not the name of a version")
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise _damaged(folder, "is not a folder")
    found = dict(_files(folder, folder))
    raw = (folder / MANIFEST).read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    if manifest_hash not in (None, digest):
        raise _damaged(folder, f"{MANIFEST} is not the one that was activated")
    stated = _stated(folder, raw)
    lost, foreign = sorted(stated.keys() - found.keys()), sorted(found.keys() - stated.keys() - ADDED - {MANIFEST})
    if lost:
        raise _damaged(folder, f"{lost[0]} is missing")
    if foreign:
        raise _damaged(folder, f"{foreign[0]} is not in its manifest")
    for name, (size, sha256) in stated.items():
        _compare(folder, name, found[name], size, sha256)
    return digest


def _compare(folder: Path, name: str, has: int, size: int, sha256: str) -> None:
    if has != size:
        raise _damaged(folder, f"{name} has {has:,} bytes, its manifest says {size:,}")
    with (folder / name).open("rb") as file:
        wrong = unsafe(name, file.read(SEEN))
        if wrong:
            raise _damaged(folder, f"{name} is {wrong}")
        file.seek(0)
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise _damaged(folder, f"{name} has other content than its manifest says")


def _files(folder: Path, version: Path) -> Iterator[tuple[str, int]]:
    """Yield relative path and size of each file below a folder of a version, following no link."""
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            name = path.relative_to(version).as_posix()
            if entry.is_dir(follow_symlinks=False):
                yield from _files(path, version)
            elif entry.is_file(follow_symlinks=False):
                yield name, entry.stat(follow_symlinks=False).st_size
            else:
                raise _damaged(version, f"{name} is neither a file nor a folder but a link or a device")


def _stated(folder: Path, raw: bytes) -> Mapping[str, tuple[int, str]]:
    """Return size and SHA-256 of each file, as the manifest states them."""
    try:
        content = json.loads(raw)
        files = content["files"].items()
        stated = {str(name): (int(file["size"]), str(file["sha256"])) for name, file in files}
        version, owner = content["format"], content["forecaster"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(folder, f"{MANIFEST} cannot be understood") from None
    if version != FORMAT:
        raise _damaged(folder, f"{MANIFEST} has format {version!r}, this kronosfw understands {FORMAT}")
    if not stated or not isinstance(owner, str):
        raise _damaged(folder, f"{MANIFEST} names no file or no forecaster")
    for name in stated:
        if not _stays_inside(name):
            raise _damaged(folder, f"{MANIFEST} lists {name!r}, which is no path below the version")
    return stated


def _stays_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    climbs = ".." in parts or PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).drive)
    return bool(parts) and not climbs and "\\" not in name and name == "/".join(parts) and name != MANIFEST


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return all that a version says of itself; raises DamagedCheckpoint where that cannot be understood."""
    try:
        content = json.loads(own_bytes(folder / MANIFEST))
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{MANIFEST} cannot be understood: {error}") from None
    if not isinstance(content, dict):
        raise _damaged(folder, f"{MANIFEST} cannot be understood")
    return cast("dict[str, Any]", content)


def _damaged(folder: Path, how: str) -> DamagedCheckpoint:
    return DamagedCheckpoint(f"checkpoint {titled(folder)}: {how}")
