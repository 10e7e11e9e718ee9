"""Mistakes that a store of checkpoints could make, each of which crashes must bring to light."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from kronosfw.checkpoints import Shelf, history, publishing, recovery
from kronosfw.checkpoints.layout import MANIFEST
from kronosfw.checkpoints.pointer import as_line
from kronosfw.files import sync_folder, write_atomically

_REAL_WRITE_VERSION = publishing.write_version


def _in_place(path: Path, write: Callable[[Any], object], folder: Path | None = None) -> None:
    with path.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def _history_first(shelf: Shelf, pointer: Any) -> None:
    history.append(shelf.history_file, pointer)
    write_atomically(shelf.pointer_file, lambda file: file.write(as_line(pointer)))


def _published_in_place(snapshot: Path, beside: Any, manifest: Any, aside: Path, target: Path) -> None:
    _REAL_WRITE_VERSION(snapshot, beside, manifest, target, target)


def _manifest_last(snapshot: Path, beside: Any, manifest: Any, aside: Path, target: Path) -> None:
    _REAL_WRITE_VERSION(snapshot, beside, manifest, aside, aside)
    content = (aside / MANIFEST).read_bytes()
    (aside / MANIFEST).unlink()
    sync_folder(aside)
    aside.rename(target)
    sync_folder(target.parent)
    write_atomically(target / MANIFEST, lambda file: file.write(content))


def _deleted_in_place(shelf: Shelf, expired: Any) -> None:
    with shelf._changing():
        recovery.recover(shelf)
        for name in shelf.prunable(expired):
            shutil.rmtree(shelf.versions / name)
        sync_folder(shelf.versions)


def _set_aside_untold(home: Any, folder: Path) -> list[str]:
    told = []

    def move_first(path: Path, entry: Any) -> None:
        target = recovery.made(home, "quarantine") / folder.name
        folder.rename(target)
        sync_folder(home.versions)
        history.append(path, entry)
        target.rename(folder)

    with patch.object(recovery, "append", move_first):
        told += _REAL_SET_ASIDE(home, folder)
    return told


_REAL_SET_ASIDE = recovery._set_aside


def _replaced(name: str, planted: object) -> Callable[[], AbstractContextManager[object]]:
    return lambda: patch(f"kronosfw.checkpoints.{name}", planted)


PLANTED = {
    "ACTIVE is written in place": ("first", _replaced("shelf.write_atomically", _in_place)),
    "the history is written in place": ("first", _replaced("history.write_atomically", _in_place)),
    "a verdict is written in place": ("first", _replaced("verdicts.write_atomically", _in_place)),
    "the history comes before the flip": ("rolled back", _replaced("shelf.Shelf._flip", _history_first)),
    "a version grows where it is seen": ("first", _replaced("shelf.write_version", _published_in_place)),
    "a version is moved before its manifest": ("first", _replaced("shelf.write_version", _manifest_last)),
    "a version shrinks where it is seen": ("pointer lost", _replaced("shelf.Shelf.prune", _deleted_in_place)),
    "a damaged version is moved before that is told": (
        "untidy",
        _replaced("recovery._set_aside", _set_aside_untold),
    ),
    "what a process left is built on": ("first", _replaced("shelf.settle", lambda home: None)),
    "what a process left is kept": ("first", _replaced("shelf.recover", recovery.reconcile)),
    "the history never learns what it lacks": ("rolled back", _replaced("recovery.reconcile", lambda home: [])),
    "a pointer that is lost is no pointer": (
        "pointer lost",
        _replaced("reading.last_pointer", lambda path: None),
    ),
}
"""The scenario that brings it to light, and the mistake."""
