"""Crashes of the machine while checkpoints change: every moment, and all that a disk may hold after it.

A scenario is work in several steps on a home of checkpoints. It is done once, undisturbed and recorded. Then the
machine stops before each call, and for each state that the disk may be in (see ``disk_model``) a fresh process must
see what was or what is to be, recovery must succeed, and the work, taken up again, must end as it did undisturbed.
The same goes for work that takes up what a killed process or an earlier crash left behind.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from unittest.mock import patch

from kronosfw.checkpoints import Pointer, Shelf
from tests.crash_scenarios import Scenario
from tests.crash_views import View, look, plain, strange
from tests.disk_model import Call, Disk, Returned, Sync, Tree
from tests.disk_recording import Recording, read_tree, write_tree

STORE = "data/store"
Planted = Callable[[], AbstractContextManager[object]]


@dataclass
class Found:
    """What came of a campaign."""

    points: int = 0
    images: int = 0
    different: int = 0
    """Images that differ from each other, within a scenario."""
    violations: list[str] = field(default_factory=list)


def total(founds: Iterable[Found]) -> Found:
    """Return what came of several."""
    parts = list(founds)
    return Found(
        sum(part.points for part in parts),
        sum(part.images for part in parts),
        sum(part.different for part in parts),
        [text for part in parts for text in part.violations],
    )


@dataclass(frozen=True)
class Outcome:
    """What a fresh process makes of an image."""

    seen: View
    told: tuple[str, ...]
    recovered: View
    left: tuple[str, ...]
    """Files that recovery should have deleted."""
    final: View


def take_up(scenario: Scenario, root: Path) -> Outcome:
    """Do as the next process does: look, recover, go on with the work, and find nothing left to recover."""
    seen = look(root)
    shelf = Shelf(root, "crypto")
    told = tuple(plain(root, text) for text in shelf.recover())
    recovered = look(root)
    left = _leftovers(shelf)
    work(scenario, shelf)
    assert not shelf.recover(), "there was something to recover after the work was done"
    return Outcome(seen, told, recovered, left, look(root))


def _leftovers(shelf: Shelf) -> tuple[str, ...]:
    found = [p for pattern in ("staging/*", "trash/*", ".*.tmp") for p in shelf.folder.glob(pattern)]
    return tuple(path.relative_to(shelf.folder).as_posix() for path in found)


def work(scenario: Scenario, shelf: Shelf, around: Recording | None = None) -> list[View]:
    """Do all steps that were not done yet, and return what there was to see after each that was done."""
    seen = []
    for n, step in enumerate(scenario.steps, 1):
        if not step.done(shelf):
            with around.recording() if around else nullcontext():
                step.run(shelf)
            if around:
                around.calls.append(Returned(n))
                seen.append(look(shelf.root))
    return seen


class Campaign:
    """All crashes of one scenario, with a bug planted in all that changes checkpoints or with none."""

    def __init__(self, scenario: Scenario, folder: Path, seed: int = 0, planted: Planted = nullcontext) -> None:
        self.scenario = scenario
        self.folder = folder
        self.planted = planted
        self.seed = seed
        self._outcomes: dict[frozenset[tuple[str, bytes | None]], Outcome | str] = {}
        self._serial = count()
        start = self._place()
        start.mkdir()
        with patch.object(os, "fsync"):
            scenario.before(Shelf(start / STORE, "crypto"))
        self.states = [look(start / STORE)]
        untouched = read_tree(start)
        self.first = Recording(start)
        with planted():
            self.states += work(scenario, Shelf(start / STORE, "crypto"), self.first)
        self.first.check()
        outcome = self._outcome(untouched)
        assert isinstance(outcome, Outcome), outcome
        self.told = outcome.told

    @property
    def labels(self) -> list[str]:
        """The syncs that the work asks for."""
        return list(dict.fromkeys(call.label for call in self.first.calls if isinstance(call, Sync)))

    def crash(self, limit: int, without: str = "") -> Iterator[Found]:
        """Crash before each call of the work; ``without`` leaves out the syncs of a label."""
        yield from self._crashes(random.Random(self.seed), self.first, limit, without, 0)

    def crash_again(self, starts: int, limit: int, without: str = "", points: int | None = None) -> Iterator[Found]:
        """Stop the work somewhere, take it up and crash again, before each call or before some.

        First the process is killed where something is about to be synced, then the machine stops anywhere.
        """
        rng, calls = random.Random(self.seed), self.first.calls
        telling = [k for k, call in enumerate(calls) if isinstance(call, Sync)]
        kills = rng.sample(telling, min(starts - starts // 2, len(telling)))
        for n, k in enumerate([*kills, *(rng.randrange(len(calls) + 1) for _ in range(starts // 2))]):
            disk = self.first.start()
            done = _advance(disk, calls[:k], without)
            if n >= len(kills):
                disk = Disk.of(rng.choice(list(disk.images(rng, limit))))
            folder = self._place()
            write_tree(disk.live()[1], folder)
            again = Recording(folder, disk)
            try:
                with self.planted():
                    work(self.scenario, Shelf(folder / STORE, "crypto"), again)
            except (Exception, SystemExit) as error:
                yield Found(violations=[f"the work could not be taken up after call {k}: {error!r}"])
                continue
            again.check()
            shutil.rmtree(folder)
            yield from self._crashes(rng, again, limit, without, done, points)

    def _crashes(
        self,
        rng: random.Random,
        recording: Recording,
        limit: int,
        without: str,
        lower: int,
        points: int | None = None,
    ) -> Iterator[Found]:
        every = range(len(recording.calls) + 1)
        some = every if points is None else sorted({*rng.sample(every, min(points, len(every))), every[-1]})
        disk, done, reached = recording.start(), 0, 0
        for k in some:
            done, reached = _advance(disk, recording.calls[reached:k], without) or done, k
            found, before = Found(1), len(self._outcomes)
            last = done + 2 if recording is self.first else len(self.states)
            allowed = self.states[max(done, lower) : max(last, lower + 1)]
            for image in disk.images(rng, limit):
                found.images += 1
                found.violations += [f"crash before call {k}: {text}" for text in self._faults(image, allowed)]
            found.different = len(self._outcomes) - before
            yield found

    def _faults(self, image: Tree, allowed: Sequence[View]) -> Iterator[str]:
        outcome = self._outcome(image)
        if isinstance(outcome, str):
            yield outcome
            return
        for who, view in (("a reader saw", outcome.seen), ("after recovery there was", outcome.recovered)):
            yield from (f"{who} {text}" for text in strange(view, allowed))
        pointer = outcome.recovered.pointer
        if outcome.recovered.seq != (pointer.seq if isinstance(pointer, Pointer) else 0):
            yield "recovery left a history whose last change is not the last"
        if outcome.left:
            yield f"recovery left {', '.join(outcome.left)}"
        if not set(outcome.told) <= set(self.told):
            yield f"recovery told of {outcome.told}"
        if outcome.final != self.states[-1]:
            yield "the work, taken up again, ended otherwise"

    def _outcome(self, image: Tree) -> Outcome | str:
        key = frozenset(image.items())
        if key not in self._outcomes:
            folder = self._place()
            write_tree(image, folder)
            try:
                with patch.object(os, "fsync"), self.planted():
                    self._outcomes[key] = take_up(self.scenario, folder / STORE)
            except (Exception, SystemExit) as error:
                self._outcomes[key] = plain(folder, f"{type(error).__name__}: {error}")
            shutil.rmtree(folder)
        return self._outcomes[key]

    def _place(self) -> Path:
        return self.folder / str(next(self._serial))


def _advance(disk: Disk, calls: Sequence[Call], without: str) -> int:
    """Make calls, except for the syncs of a label, and return the last step that was done; 0 where none was."""
    for call in calls:
        if not (isinstance(call, Sync) and call.label == without):
            disk.apply(call)
    return max((call.step for call in calls if isinstance(call, Returned)), default=0)
