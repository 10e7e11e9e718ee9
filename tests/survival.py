"""Runs that are killed or stopped again and again, and what must be there once they were resumed.

A story is one run in a world of its own and all that befalls it until it has ended; what is stored then must be
what is stored where nothing befell it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from tests.survival_checks import different, finished, history, rewritten, torn
from tests.survival_stores import Backend, Tables, forecasts, tables
from tests.survival_world import SYMBOLS, USUAL, World, announce, run_here

RUN, RESUME = ("run", "config.yaml"), ("run", "config.yaml", "--resume")
REPLAY = "store", "replay", "config.yaml"


@dataclass(frozen=True)
class Moment:
    """When to disturb a run: so many seconds after it began, or after so many statements were sent to the store."""

    seconds: float
    statements: int = 0

    def wait(self, announced: int) -> None:
        """Wait for it, or for the end of the run."""
        for _ in range(self.statements):
            if not os.read(announced, 1):
                return
        time.sleep(self.seconds)


@dataclass
class Tried:
    """What came of a campaign."""

    disturbed: Counter[str] = field(default_factory=Counter)
    """By what was done, and what was there by then."""
    stories: int = 0
    spared: int = 0
    """Symbols that were finished when their run was killed, and were not forecast again."""
    violations: list[str] = field(default_factory=list)


class Campaign:
    """Stories in worlds of one kind of database."""

    planted: AbstractContextManager[Any]
    """A mistake that the disturbed runs make, or nothing."""

    def __init__(self, folder: Path, backend: Backend, seed: int) -> None:
        self._folder, self._backend, self._rng = folder, backend, random.Random(seed)
        self.planted = nullcontext()
        self.found = Tried()
        past = World(folder / "past", backend.new(folder, None))
        run_here(past, "backtest")
        backend.settle(past.url)
        self._seeded = past.url
        self._undisturbed: dict[tuple[str, ...], Tables] = {}
        run_here(self.world("warm"), "run")

    def world(self, name: str, more: str = USUAL) -> World:
        """Return a world whose store has a past."""
        folder = self._folder / name
        folder.mkdir()
        return World(folder, self._backend.new(folder, self._seeded), more)

    def undisturbed(self, *changes: str) -> Tables:
        """Return what is stored where a run follows each of the changes and nothing disturbs it."""
        if changes not in self._undisturbed:
            world = self.world(f"undisturbed-{'-'.join(changes)}")
            for change in changes:
                world.happen(change)
                assert world.start(*RUN).code() == 0, world.said()
            self._undisturbed[changes] = self._left(world)
        return self._undisturbed[changes]

    @cached_property
    def _usual(self) -> tuple[float, int]:
        """How many seconds a run takes, and how many statements it sends."""
        self.undisturbed("as it was")
        world = self.world("timed")
        announced, telling = os.pipe()
        started = time.monotonic()
        child = world.start(*RUN, prepare=partial(announce, telling))
        os.close(telling)
        statements = 0
        while os.read(announced, 1):
            statements += 1
        os.close(announced)
        assert child.code() == 0
        return time.monotonic() - started, statements

    def moment(self) -> Moment:
        """Return some moment of a run: any, or one when the store is at work."""
        seconds, statements = self._usual
        if self._rng.random() < 0.5:
            return Moment(self._rng.uniform(0, seconds))
        return Moment(self._rng.choice((0, self._rng.expovariate(500))), self._rng.randrange(1, statements + 1))

    def disturb(
        self, number: int, told: Callable[[int], object] = lambda ended: None, *, workers: float = 0.0
    ) -> Tried:
        """Tell stories until so many runs were ended, a share of them with ``workers``."""
        while self.found.disturbed.total() < number:
            self._story(workers)
            told(self.found.disturbed.total())
        return self.found

    def _story(self, workers: float) -> None:
        rng, number = self._rng, self.found.stories
        self.found.stories += 1
        change = rng.choices(("as it was", "grown", "revised", "shut"), (6, 2, 1, 1))[0]
        crew = "executor: {type: processes, workers: 2}\n" if rng.random() < workers else ""
        world = self.world(f"story-{number}", USUAL + crew)
        try:
            for text in self._befallen(world, change):
                self.found.violations.append(f"story {number}, {change}: {text}")
        finally:
            self._backend.drop(world.url)
            shutil.rmtree(world.folder)

    def _befallen(self, world: World, change: str) -> Iterator[str]:
        """Disturb a run and those that go on with it, until one ends; yield what is strange."""
        how = self._rng.choices((signal.SIGKILL, signal.SIGTERM, signal.SIGINT), (8, 1, 1))[0]
        yield from self._disturb(world, how, RUN, shut=change == "shut")
        before = self._left(world)
        yield from torn(before)
        world.happen(change)
        early = self._rng.random() < 0.5
        if early and (world.folder / "spool").exists():
            yield from self._replay(world)
            before = self._left(world)
        while self._rng.random() < 0.5:
            yield from self._disturb(world, signal.SIGKILL, RESUME)
            after = self._left(world)
            yield from rewritten(before, after)
            before = after
        yield from self._ended(world, before, change)
        if not early and (world.folder / "spool").exists():
            before = self._left(world)
            yield from self._replay(world)
            after = self._left(world)
            yield from rewritten(before, after)
            yield from different(after, before, change)

    def _disturb(
        self, world: World, how: signal.Signals, command: Sequence[str], *, shut: bool = False
    ) -> Iterator[str]:
        """Begin a run and end it with a signal, maybe some time after its store was shut; yield what is strange."""
        announced, telling = os.pipe()
        with self.planted:
            child = world.start(*command, prepare=partial(announce, telling))
        os.close(telling)
        self.moment().wait(announced)
        with self._backend.shut(world.url) if shut else nullcontext():
            if shut:
                self.moment().wait(announced)
            child.kill(how)
            code = child.code()
        os.close(announced)
        allowed = {0, -how, *((75, 130) if how is not signal.SIGKILL else ()), *((6,) if shut else ())}
        if not child.alone():
            yield "a process stayed behind"
        if code not in allowed:
            yield f"{how.name} ended a run with {code}: {world.said()}"
        share = len({row["symbol"] for row in forecasts(self._left(world))})
        there = "nothing" if not share else "all" if share == len(SYMBOLS) else "a part"
        self.found.disturbed[f"{how.name}{', store shut' if shut else ''}, {there} there"] += 1

    def _replay(self, world: World) -> Iterator[str]:
        for folder in sorted((world.folder / "spool").iterdir()):
            # A run that was killed may have left a folder without a part.
            if list(folder.glob("*.parquet")) and world.start(*REPLAY, str(folder)).code():
                yield f"no replay: {world.said()}"

    def _left(self, world: World) -> Tables:
        """Return what is stored once nobody is at it."""
        self._backend.settle(world.url)
        return tables(world.url)

    def _ended(self, world: World, before: Tables, change: str) -> Iterator[str]:
        """Let a run go on to its end; yield what is strange then."""
        tallied = len(world.tally())
        with self.planted:
            child = world.start(*RESUME)
        if (code := child.code()) != 0:
            yield f"it ended with {code}: {world.said()}"
            return
        runs = history(before, change)
        after, expected = self._left(world), self.undisturbed(*runs)
        yield from rewritten(before, after)
        yield from different(after, expected, change)
        again = world.tally()[tallied:]
        if runs[-1] != "grown":
            yield from (f"{symbol} was forecast again" for symbol in sorted(finished(before) & {*again}))
            self.found.spared += len(finished(before))
        # Where a day has passed, a run that did not end is finished before the next.
        if max(Counter(again).values(), default=0) > 1 + (change == "grown"):
            yield "a symbol was forecast twice in one run"
