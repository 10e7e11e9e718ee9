"""What a file system may show after a crash: which of the calls came to the disk, and how much of each.

The rules are those of POSIX and no more. What a file holds is certain once the file was synced; until then its last
content may be lost, be there in part or as zeros, or be there whole. A name is certain once its folder was synced;
until then it may be the old one or the new one, whatever became of the names around it. Changes of one name keep
their order. A rename is atomic: it is there in both folders or in neither, and syncing either makes it certain.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

Tree = Mapping[str, bytes | None]
"""Content by path; None for a folder."""
Name = tuple[int, str]
"""A folder, and a name in it."""
ROOT = 0


@dataclass(frozen=True)
class Write:
    inode: int
    at: int
    data: bytes

    def applied(self, content: bytes, share: float = 1.0) -> bytes:
        """Return the content after this share of the write."""
        data = self.data[: int(len(self.data) * share)]
        return content[: self.at].ljust(self.at, b"\0") + data + content[self.at + len(data) :]


@dataclass(frozen=True)
class Truncate:
    inode: int
    size: int

    def applied(self, content: bytes) -> bytes:
        """Return the content after it."""
        return content[: self.size].ljust(self.size, b"\0")


@dataclass(frozen=True)
class Rename:
    """Names that change at once: a name made, taken away, or one of each."""

    names: tuple[tuple[Name, int | None], ...]


@dataclass(frozen=True)
class Sync:
    inode: int
    label: str
    """Who asked for it, and of which path."""


@dataclass(frozen=True)
class Returned:
    """A step of the work told that it was done."""

    step: int


Call = Write | Truncate | Rename | Sync | Returned


class Disk:
    """What is on the disk for certain, and the calls that may have come to it."""

    def __init__(self, names: Mapping[Name, int], contents: Mapping[int, bytes | None]) -> None:
        """``contents`` has None for folders."""
        self.names = dict(names)
        self.contents = dict(contents)
        self.renames: list[Rename] = []
        self.writes: dict[int, list[Write | Truncate]] = {}

    @classmethod
    def of(cls, tree: Tree) -> Disk:
        """Return the disk on which all of a tree is certain."""
        numbers = {"": ROOT, **{path: n for n, path in enumerate(sorted(tree), 1)}}
        parts = {path: path.rpartition("/") for path in tree}
        names = {(numbers[folder], name): numbers[path] for path, (folder, _, name) in parts.items()}
        return cls(names, {ROOT: None, **{numbers[path]: content for path, content in tree.items()}})

    def copy(self) -> Disk:
        """Return a disk that is as this one and goes its own way."""
        disk = Disk(self.names, self.contents)
        disk.renames, disk.writes = list(self.renames), {inode: list(w) for inode, w in self.writes.items()}
        return disk

    def apply(self, call: Call) -> None:
        """Take note of a call."""
        if isinstance(call, Rename):
            self.renames.append(call)
        elif isinstance(call, Write | Truncate):
            self.writes.setdefault(call.inode, []).append(call)
        elif isinstance(call, Sync):
            for write in self.writes.pop(call.inode, ()):
                self.contents[call.inode] = write.applied(self.contents.get(call.inode) or b"")
            self._settle(call.inode)

    def _settle(self, folder: int) -> None:
        asked = {n for n, rename in enumerate(self.renames) if any(name[0] == folder for name, _ in rename.names)}
        certain = self._with_all_before(asked)
        for n in sorted(certain):
            self.names = _renamed(self.names, self.renames[n])
        self.renames = [rename for n, rename in enumerate(self.renames) if n not in certain]

    def _with_all_before(self, chosen: set[int]) -> frozenset[int]:
        """Return these changes of names with all that had to come before them."""
        found, touched = set(), set[Name]()
        for n in range(len(self.renames) - 1, -1, -1):
            names = {name for name, _ in self.renames[n].names}
            if n in chosen or names & touched:
                found.add(n)
                touched |= names
        return frozenset(found)

    def live(self) -> tuple[dict[Name, int], Tree]:
        """Return the names and what a process sees."""
        names = self.names
        for rename in self.renames:
            names = _renamed(names, rename)
        return names, self._tree(
            range(len(self.renames)), [_contents(self._before(i), w)[-1] for i, w in self._dirty]
        )

    @property
    def _dirty(self) -> list[tuple[int, list[Write | Truncate]]]:
        return sorted(self.writes.items())

    def _before(self, inode: int) -> bytes:
        return self.contents.get(inode) or b""

    def images(self, rng: random.Random, limit: int) -> Iterator[Tree]:
        """Yield what may be found after a crash now: all of it or, beyond the limit, a selection."""
        every = range(len(self.renames))
        data = [_contents(self._before(inode), writes) for inode, writes in self._dirty]
        if 2 ** len(every) * prod(map(len, data)) <= limit:
            kept = {self._with_all_before({n for n in every if mask >> n & 1}) for mask in range(2 ** len(every))}
            chosen = list(product(sorted(kept, key=sorted), product(*data)))
        else:
            chosen = self._telling(data)
            rng.shuffle(chosen)
            del chosen[limit * 3 // 4 :]
            while len(chosen) < limit:
                some = self._with_all_before({n for n in every if rng.random() < 0.5})
                chosen.append((some, tuple(map(rng.choice, data))))
        for kept_names, kept_data in chosen:
            yield self._tree(kept_names, kept_data)

    def _telling(self, data: Sequence[Sequence[bytes]]) -> list[tuple[frozenset[int], tuple[bytes, ...]]]:
        """Return the most telling cases: names up to each, each alone, all but each; data lost, whole, torn."""
        every = range(len(self.renames))
        names = {self._with_all_before(set(range(n))) for n in range(len(every) + 1)}
        names |= {self._with_all_before({n}) for n in every}
        names |= {frozenset(m for m in every if n not in self._with_all_before({m})) for n in every}
        lost, whole = tuple(c[0] for c in data), tuple(c[-1] for c in data)
        cases = [(kept, contents) for kept in sorted(names, key=sorted) for contents in (lost, whole)]
        for n, contents in enumerate(data):
            cases += [(frozenset(every), (*whole[:n], content, *whole[n + 1 :])) for content in contents]
        return cases

    def _tree(self, kept: Sequence[int] | frozenset[int], data: Sequence[bytes]) -> Tree:
        names, contents = self.names, {**self.contents}
        for n in sorted(kept):
            names = _renamed(names, self.renames[n])
        contents |= {inode: content for (inode, _), content in zip(self._dirty, data, strict=True)}
        below: dict[int, list[tuple[str, int]]] = {}
        for (folder, name), inode in names.items():
            below.setdefault(folder, []).append((name, inode))
        return dict(_paths(ROOT, "", below, contents))


def _paths(
    folder: int, path: str, below: Mapping[int, Sequence[tuple[str, int]]], contents: Mapping[int, bytes | None]
) -> Iterator[tuple[str, bytes | None]]:
    for name, inode in sorted(below.get(folder, ())):
        yield f"{path}{name}", contents[inode]
        if contents[inode] is None:
            yield from _paths(inode, f"{path}{name}/", below, contents)


def _renamed(names: Mapping[Name, int], rename: Rename) -> dict[Name, int]:
    changed = {**names, **{name: inode for name, inode in rename.names if inode is not None}}
    for name, inode in rename.names:
        if inode is None:
            changed.pop(name, None)
    return changed


def _contents(before: bytes, writes: Sequence[Write | Truncate]) -> list[bytes]:
    """Return what a file may hold after a crash, from nothing of what was written to all of it."""
    found = [before]
    for write in writes:
        if isinstance(write, Write):
            found.append(write.applied(found[-1], 0.5))
            found.append(write.applied(found[-2]))
        else:
            found.append(write.applied(found[-1]))
    whole = found.pop()
    return [content for content in dict.fromkeys([*found, bytes(len(whole))]) if content != whole] + [whole]
