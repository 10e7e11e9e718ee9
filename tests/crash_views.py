"""What there is to see of a home of checkpoints, and whether it is as it was or as it is to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kronosfw.builtin.policies import Rolling
from kronosfw.checkpoints import Pointer, Shelf, choose, discover, verify
from kronosfw.errors import DamagedCheckpoint
from kronosfw.types import Entry
from tests.shelves import NOW


@dataclass(frozen=True)
class View:
    """What a reader sees, and what only a change looks at."""

    pointer: object
    versions: dict[str, tuple[str, str]]
    """State and soundness by version."""
    history: tuple[Entry, ...]
    served: object

    @property
    def seq(self) -> int:
        """Number of the last change that the history tells of."""
        return max((entry.seq or 0 for entry in self.history), default=0)


def look(root: Path) -> View:
    """Return what a process sees that changes nothing; raises what it raises."""
    shelf = Shelf(root, "crypto")
    try:
        pointer: object = shelf.active
    except DamagedCheckpoint as error:
        pointer = plain(root, error)
    states = {c.version: c.state for c in discover(root)}
    versions = {}
    for name in shelf.names():
        try:
            verify(shelf.versions / name)
            versions[name] = (states.get(name, "not discovered"), "sound")
        except DamagedCheckpoint as error:
            versions[name] = (states.get(name, "not discovered"), plain(root, error))
    try:
        chosen, told = choose(Rolling().build(), root, "crypto", "fickle")
        served: object = (chosen and chosen.version, *(plain(root, text) for text in told))
    except DamagedCheckpoint as error:
        served = plain(root, error)
    for path in shelf.folder.glob("quarantine/*"):
        versions.setdefault(path.name, ("set aside", ""))
    lines = shelf.history_file.read_bytes().count(b"\n") if shelf.history_file.exists() else 0
    entries = shelf.history()
    assert lines == len(entries), "a line of the history cannot be understood"
    return View(pointer, versions, tuple(_once(entries)), served)


def _once(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the entries, but only once what is told of again where a crash came between telling and doing."""
    last = None
    for entry in entries:
        entry = replace(entry, at=NOW) if entry.event == "quarantined" else entry
        if entry.event != "quarantined" or entry != last:
            yield entry
        last = entry


def plain(root: Path, text: object) -> str:
    return str(text).replace(str(root), "")


def strange(view: View, allowed: Sequence[View]) -> Iterator[str]:
    """Yield what is neither as it was nor as it is to be."""
    if view.pointer not in [state.pointer for state in allowed]:
        yield f"the pointer {view.pointer}"
    for name in sorted({name for state in (view, *allowed) for name in state.versions}):
        if view.versions.get(name) not in [state.versions.get(name) for state in allowed]:
            yield f"{name} as {view.versions.get(name)}"
    if view.served not in [state.served for state in allowed]:
        yield f"{view.served} served"
    first, last = allowed[0].history, allowed[-1].history
    if view.history[: len(first)] != first or last[: len(view.history)] != view.history:
        yield f"a history of {len(view.history)} entries"
    if isinstance(view.pointer, Pointer | None) and view.seq > (view.pointer.seq if view.pointer else 0):
        yield "a history that is ahead of what is active"
