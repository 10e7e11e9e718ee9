"""Work on a home of checkpoints, in steps, from where it begins: what crashes interrupt."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kronosfw.checkpoints import Shelf
from kronosfw.types import Check, Entry, Verdict
from tests.shelves import NOW

FILES = {"a.safetensors": b"\x10" + bytes(7) + b'{"a": 1}' + b" " * 8 + b"weights", "deep/tokens.txt": b"one two"}
WHY: dict[str, Any] = {"at": NOW, "reason": "why"}
GOOD = Verdict(True, ("it is better",), (Check("crps", True, "1 % better", 0.01),), {"gain": 0.01})
BAD = replace(GOOD, accepted=False, reasons=("it is worse",))


@dataclass(frozen=True)
class Step:
    run: Callable[[Shelf], object]
    done: Callable[[Shelf], bool] = lambda shelf: False
    """Whether it need not be done again; what can be done twice is done twice."""


@dataclass(frozen=True)
class Scenario:
    before: Callable[[Shelf], object]
    steps: tuple[Step, ...]


def published(letter: str, **manifest: object) -> Step:
    """Return the step that publishes a version whose identity is this letter."""

    def publish(shelf: Shelf) -> None:
        with tempfile.TemporaryDirectory() as name:
            for path, content in FILES.items():
                (Path(name) / path).parent.mkdir(exist_ok=True)
                (Path(name) / path).write_bytes(content + letter.encode())
            content = {"forecaster": "fickle", "guarded": True, **manifest}
            shelf.publish(Path(name), content, day="2026-11-01", identity=letter * 12)

    return Step(publish)


def judged(letter: str, verdict: Verdict = GOOD) -> Step:
    return Step(
        lambda shelf: shelf.judge(version(shelf, letter), verdict),
        lambda shelf: any(c.version[-1] == letter and c.state != "candidate" for c in shelf.checkpoints()),
    )


def promoted(letter: str, nth: int, **more: Any) -> Step:
    """Return the step that promotes a version as the nth change."""
    return Step(
        lambda shelf: shelf.promote(version(shelf, letter), **{"event": "promoted", **WHY, **more}),
        lambda shelf: changes(shelf) >= nth,
    )


def rolled_back(nth: int) -> Step:
    return Step(lambda shelf: shelf.rollback(**WHY), lambda shelf: changes(shelf) >= nth)


def pruned(*letters: str) -> Step:
    return Step(lambda shelf: shelf.prune([c for c in shelf.checkpoints() if c.version[-1] in letters]))


def noted(entry: Entry) -> Step:
    return Step(lambda shelf: shelf.note(entry), lambda shelf: entry in shelf.history())


RECOVERED = Step(lambda shelf: shelf.recover())


def version(shelf: Shelf, letter: str) -> str:
    return next(name for name in shelf.names() if name[-1] == letter)


def changes(shelf: Shelf) -> int:
    return shelf.active.seq if shelf.active else 0


def nothing(shelf: Shelf) -> None:
    """Begin with no home at all."""


def grown(shelf: Shelf) -> None:
    """Begin with three versions, of which the second is active and the first was so before."""
    for letter in "abc":
        for step in (published(letter), judged(letter)):
            step.run(shelf)
    for nth, letter in enumerate("ab", 1):
        promoted(letter, nth).run(shelf)


def spoil(shelf: Shelf, letter: str) -> None:
    path = shelf.versions / version(shelf, letter) / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def untidy(shelf: Shelf) -> None:
    """Begin with a damaged version, leftovers everywhere and a history that lacks the last change."""
    grown(shelf)
    history = shelf.history_file.read_bytes()
    promoted("a", 3).run(shelf)
    shelf.history_file.write_bytes(history)
    spoil(shelf, "c")
    for name in ("staging", "trash"):
        folder = shelf.folder / name / version(shelf, "b")
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "half.txt").write_bytes(b"ha")
    (shelf.folder / ".0123456789abcdef.tmp").write_bytes(b"{")


def pointless(shelf: Shelf) -> None:
    """Begin with a pointer that is lost."""
    grown(shelf)
    shelf.pointer_file.unlink()


REJECTED = Entry(NOW, "rejected", "", "it is worse")
SCENARIOS = {
    "first": Scenario(nothing, (published("a"), judged("a"), promoted("a", 1))),
    "failed first": Scenario(nothing, (noted(replace(REJECTED, event="failed")),)),
    "next": Scenario(grown, (published("d"), judged("d"), promoted("d", 3), pruned("a", "c"))),
    "rejected": Scenario(
        grown,
        (published("d"), judged("d", BAD), noted(REJECTED), promoted("d", 3, event="activated", force=True)),
    ),
    "rolled back": Scenario(grown, (rolled_back(3), rolled_back(4))),
    "untidy": Scenario(untidy, (RECOVERED, promoted("b", 4))),
    "pointer lost": Scenario(pointless, (RECOVERED, pruned("c"))),
}
