"""Run a change again and again, dying before each thing that it asks of the disk in turn, and look at what is left.

Usage: ``python crash_points.py CHANGE FOLDER``. Prints a JSON list of what was there after each death: ``old`` or
``new``. Raises AssertionError where it was neither, or where the next change could not be made.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kronosfw.checkpoints import Shelf, verify
from tests.shelves import NOW, put

WHY: dict[str, Any] = {"at": NOW, "reason": "why"}
CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")
VERSIONS = [f"2026-11-01-000{n + 1}-{letter * 12}" for n, letter in enumerate("abc")]


def publish(shelf: Shelf) -> None:
    put(shelf.root, files={"a.txt": b"1", "deep/b.txt": b"2"}, identity="c" * 12)


def promote(shelf: Shelf) -> None:
    shelf.promote(VERSIONS[1], event="promoted", **WHY)


def rollback(shelf: Shelf) -> None:
    shelf.rollback(**WHY)


def prune(shelf: Shelf) -> None:
    shelf.prune(shelf.checkpoints())


CHANGES = {
    "publish": (publish, lambda shelf: VERSIONS[2] in shelf.names()),
    "promote": (promote, lambda shelf: shelf.active.version == VERSIONS[1]),
    "rollback": (rollback, lambda shelf: shelf.active.version == ""),
    "prune": (prune, lambda shelf: VERSIONS[1] not in shelf.names()),
}


def dying(change: Callable[[Shelf], None], shelf: Shelf, nth: int) -> bool:
    """Make a change in a process that dies before its nth call; tell whether it died."""
    child = os.fork()
    if child == 0:
        left = iter(range(nth, -1, -1))

        def before(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*given: Any, **more: Any) -> Any:
                if next(left) == 0:
                    os._exit(9)
                return real(*given, **more)

            return call

        for name in CALLS:
            setattr(os, name, before(getattr(os, name)))
        change(shelf)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def main(what: str, folder: Path) -> list[str]:
    change, is_new = CHANGES[what]
    start = folder / "start"
    for letter in "ab":
        put(start, files={"a.txt": letter.encode()}, identity=letter * 12)
    Shelf(start, "crypto").promote(VERSIONS[0], event="promoted", **WHY)
    outcomes, died, nth = [], True, 0
    while died:
        root = folder / str(nth)
        shutil.copytree(start, root)
        shelf = Shelf(root, "crypto")
        died = dying(change, shelf, nth)
        outcomes.append("new" if is_new(shelf) else "old")
        assert shelf.active is not None
        for name in {shelf.active.version, *shelf.names()} - {""}:
            verify(shelf.versions / name)
        assert shelf.recover() == []
        entry = shelf.history()[-1]
        assert (entry.version, entry.seq) == (shelf.active.version, shelf.active.seq)
        left = [*shelf.folder.glob("staging/*"), *shelf.folder.glob("trash/*"), *shelf.folder.glob("*.tmp")]
        assert not left, left
        assert died or outcomes[-1] == "new"
        nth += 1
    return outcomes


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
