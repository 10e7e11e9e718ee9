"""The members' part of the work: batches of windows forecast by each member, wherever an executor has it done."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.reduction import ForkingPickler

from .config import Config
from .executors import Executor, Outcome, map_unordered
from .executors.mapping import MOST_IN_VAIN
from .interfaces import ForecasterConfig
from .isolation import reason
from .members import Member, run_member
from .reading import Failure
from .secrets import remember
from .types import Checkpoint, Forecast, Window


@dataclass(frozen=True, slots=True)
class Part:
    """One member's part of a batch: what a worker is given."""

    member: str
    windows: Sequence[Window]

    def halves(self) -> list[Part]:
        """Return the part as two, or nothing where it cannot be halved."""
        middle = len(self.windows) // 2
        return [Part(self.member, its) for its in (self.windows[:middle], self.windows[middle:])] if middle else []


Made = tuple[list[Forecast], list[Failure]]
Work = Callable[[Part], Made]


@dataclass(slots=True)
class Told:
    """What the members made of a batch of windows."""

    forecasts: list[Forecast] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """By member, how long it took."""
    lost: int = 0
    """Tries that were lost, with a worker or to a timeout."""


@dataclass(frozen=True)
class Recipe:
    """All that it takes to build a member again in another process, with the weights that were chosen here."""

    forecaster: ForecasterConfig
    name: str
    options: str
    context: int
    checkpoints: dict[str, Checkpoint | None]
    unusable: dict[str, str]

    @classmethod
    def of(cls, member: Member, config: Config) -> Recipe:
        options = dict(zip(config.member_names, config.forecasters, strict=True))[member.name]
        return cls(
            options, member.name, member.options, member.context, dict(member.checkpoints), dict(member.unusable)
        )

    def member(self) -> Member:
        """Build the member; raises whatever its forecaster raises."""
        forecaster = self.forecaster.build()
        paths = {name: its.path for name, its in self.checkpoints.items() if its is not None}
        switched = {path: forecaster.with_checkpoint(path) for path in set(paths.values())}  # type: ignore[attr-defined]
        by_class = {name: switched[path] for name, path in paths.items()}
        return Member(self.name, forecaster, self.options, self.context, self.checkpoints, by_class, self.unusable)


def worker_here(members: Sequence[Member], levels: Sequence[float], batch: int) -> Work:
    """Return what forecasts with members that are built already."""
    return partial(_forecast, {member.name: member for member in members}, {}, levels, batch)


def worker_there(recipes: Mapping[str, bytes], levels: Sequence[float], batch: int) -> Work:
    """Return what builds each member, from its pickled recipe, when it is needed first, and forecasts."""
    return partial(_forecast, {}, recipes, levels, batch)


def _forecast(
    members: dict[str, Member], recipes: Mapping[str, bytes], levels: Sequence[float], batch: int, part: Part
) -> Made:
    """Return what the member makes of the windows; those that fail are set apart."""
    if not part.windows:
        return [], []
    if part.member not in members:
        recipe: Recipe = ForkingPickler.loads(recipes[part.member])
        # A process that builds a member keeps its secrets, too.
        remember(recipe.forecaster)
        members[part.member] = recipe.member()
    return run_member(members[part.member], part.windows, levels, batch, lambda *_: None)


class Troupe:
    """The members of a run or a backtest, and who does their work."""

    def __init__(
        self, members: Sequence[Member], config: Config, levels: Sequence[float], executor: Executor
    ) -> None:
        """``levels`` are the quantile levels that are asked of each member."""
        self._members, self._executor = members, executor
        self._batch = config.batch
        self._given_up: dict[str, str] = {}
        """By member that is not tried any more, why."""
        self._timeouts = dict(zip(config.member_names, (f.timeout for f in config.forecasters), strict=True))
        if executor.here:
            self._worker: Callable[[], Work] = partial(worker_here, members, levels, config.batch)
        else:
            recipes = {member.name: self._sent(Recipe.of(member, config)) for member in members}
            self._worker = partial(worker_there, recipes, levels, config.batch)
        self._in_vain = dict.fromkeys((member.name for member in members), 0)
        """Tries in a row that a member lost."""

    def _sent(self, recipe: Recipe) -> bytes:
        """Return a recipe as it is sent to other processes; a member whose recipe cannot be is not tried."""
        try:
            return bytes(ForkingPickler.dumps(recipe))
        except Exception as error:
            self._given_up[recipe.name] = f"it cannot be sent to another process: {reason(error)}"
            return b""

    def forecast(
        self, batches: Iterable[Sequence[Window]], done: Callable[[str, int], None] = lambda member, count: None
    ) -> Generator[Told]:
        """Yield what the members made of each batch, in order; batches are drawn as there is room for them.

        A member of which many tries in a row were lost, because workers died or it took too long, is not tried any
        more. ``done`` is told of each member of how many more windows the end has come.
        """
        open_: dict[int, _Gathering] = {}
        owners: list[int] = []

        def parts() -> Iterator[Part]:
            for number, windows in enumerate(batches):
                open_[number] = gathering = _Gathering(len(windows), [member.name for member in self._members])
                todo = [member.name for member in self._members if member.name not in self._given_up]
                for member in self._members:
                    if member.name in self._given_up:
                        gathering.fail(member.name, windows, self._given_up[member.name])
                for name in todo if windows else ():
                    owners.append(number)
                    yield Part(name, windows)
                if self._members and not (todo and windows):
                    # A batch without work has its turn, too, so that no further one is drawn before it is told.
                    owners.append(number)
                    gathering.idle = True
                    yield Part(self._members[0].name, ())

        following = 0
        most = 2 * self._executor.workers
        work = map_unordered(
            self._executor,
            self._worker,
            parts(),
            timeout=self._timeout,
            split=Part.halves,
            ready=lambda: len(open_) < most,
        )
        with closing(work) as outcomes:
            for outcome in outcomes:
                member, count = outcome.task.member, len(outcome.task.windows)
                open_[owners[outcome.key]].add(outcome)
                done(member, count)
                self._in_vain[member] = self._in_vain[member] + outcome.in_vain if outcome.lost else 0
                if self._in_vain[member] >= MOST_IN_VAIN:
                    self._given_up[member] = outcome.error
                while following in open_ and open_[following].complete:
                    yield open_.pop(following).told()
                    following += 1
            while following in open_:
                yield open_.pop(following).told()
                following += 1

    def _timeout(self, part: Part) -> float | None:
        seconds = self._timeouts[part.member]
        return None if seconds is None else seconds * math.ceil(len(part.windows) / self._batch)


class _Gathering:
    """A batch of which not all members are through."""

    def __init__(self, windows: int, members: Sequence[str]) -> None:
        self._left = dict.fromkeys(members, windows)
        self._made: dict[str, list[Forecast]] = {name: [] for name in members}
        self._failures: dict[str, list[Failure]] = {name: [] for name in members}
        self._seconds: dict[str, float] = {}
        self._lost = 0
        self.idle = False
        """Whether it waits for its turn alone."""

    def add(self, outcome: Outcome[Part, Made]) -> None:
        part = outcome.task
        self.idle &= bool(part.windows)
        self._lost += outcome.in_vain
        self._seconds[part.member] = self._seconds.get(part.member, 0.0) + outcome.seconds
        if outcome.value is None:
            self.fail(part.member, part.windows, outcome.error)
            return
        forecasts, failures = outcome.value
        self._made[part.member] += forecasts
        self._failures[part.member] += failures
        self._left[part.member] -= len(part.windows)

    def fail(self, member: str, windows: Sequence[Window], why: str) -> None:
        self._failures[member] += [Failure(window.symbol, "model", why, member) for window in windows]
        self._left[member] -= len(windows)

    @property
    def complete(self) -> bool:
        return not self.idle and not any(self._left.values())

    def told(self) -> Told:
        """Return what the members made, one after the other."""
        told = Told(seconds=self._seconds, lost=self._lost)
        for name, made in self._made.items():
            told.forecasts += made
            told.failures += self._failures[name]
        return told
