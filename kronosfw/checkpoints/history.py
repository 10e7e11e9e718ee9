"""``history.jsonl``: what became of the checkpoints of a home, a line for each event."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from ..files import write_atomically
from ..types import Entry
from .pointer import Pointer, as_line, parse, parse_pointer

log = logging.getLogger(__name__)
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)


def read_history(path: Path) -> list[Entry]:
    """Return the entries in order; a line that cannot be understood is left out with a warning. Raises OSError."""
    entries = []
    for number, line in enumerate(_lines(path), 1):
        try:
            entries.append(parse(json.loads(line)))
        except _UNREADABLE:
            log.warning("%s: line %d cannot be understood", path, number)
    return entries


def append(path: Path, change: Pointer | Entry) -> None:
    """Add a line; the others stay as they are, byte by byte. Raises OSError."""
    content = b"".join(line + b"\n" for line in _lines(path)) + as_line(change)
    write_atomically(path, lambda file: file.write(content))


def last_pointer(path: Path) -> Pointer | None:
    """Return what was active last by the history, None where nothing was. Raises OSError."""
    for line in reversed(_lines(path)):
        try:
            return parse_pointer(line)
        except _UNREADABLE:
            continue
    return None


def trail(entries: Sequence[Entry], pointer: Pointer) -> list[str]:
    """Return the versions that a rollback may go back to, the one to try first first.

    They are those that were active before the one that is, without any that was rolled back from since.
    """
    stack: list[str] = []
    changes = [e for e in entries if e.seq is not None and e.seq < pointer.seq]
    for change in (*changes, pointer.entry):
        if change.event == "rolled_back":
            left = stack[-1:]
            stack = [version for version in stack if version not in left]
            while stack and stack[-1] != change.version:
                stack.pop()
        if change.version and stack[-1:] != [change.version]:
            stack.append(change.version)
    before = [version for version in stack[-2::-1] if version != pointer.version]
    if pointer.previous and pointer.previous not in before:
        before.insert(0, pointer.previous)
    return list(dict.fromkeys(before))


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []


def about(version: str, history: Sequence[Entry]) -> list[Entry]:
    """Return the entries that concern a version: those that name it, and the change that ended its service."""
    found, active = [], ""
    for entry in history:
        if version in (entry.version, entry.previous) or (entry.seq is not None and active == version):
            found.append(entry)
        if entry.seq is not None:
            active = entry.version
    return found
