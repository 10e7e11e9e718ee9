"""Tasks handed to a crew as there is room, and again where a worker was lost over them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, TypeVar

from .crew import Crew, End, Executor

Task = TypeVar("Task")
Value = TypeVar("Value")

MOST_IN_VAIN = 20
"""Tries in a row that may be lost before what is left is given up."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Task, Value]):
    """What came of one task, or of a part of one that was split."""

    key: int
    """The task's place among all."""
    task: Task
    value: Value | None
    """None where it failed."""
    error: str = ""
    """Why it failed; empty where it did not."""
    lost: bool = False
    """Whether it failed because workers died over it or took too long."""
    in_vain: int = 0
    """Tries of the task that were lost since the last outcome of a part of it."""
    seconds: float = 0.0


@dataclass(slots=True)
class _History:
    """How the tries of one task, and of its parts, went."""

    in_a_row: int = 0
    """Tries lost since anything came of it."""
    untold: int = 0
    """Tries lost since the last outcome."""
    why: str = ""
    """Why the last of them was lost."""

    def lose(self, why: str) -> None:
        self.in_a_row, self.untold, self.why = self.in_a_row + 1, self.untold + 1, why

    def tell(self) -> int:
        untold, self.untold = self.untold, 0
        return untold


@dataclass(frozen=True, slots=True)
class _Try(Generic[Task]):
    key: int
    task: Task
    number: int = 1
    history: _History = field(default_factory=_History)

    def following(self, split: Callable[[Task], Sequence[Task]]) -> list[_Try[Task]]:
        """Return what is to be tried instead: the whole a second time, then its parts; nothing where none are."""
        if self.number == 1:
            return [_Try(self.key, self.task, 2, self.history)]
        return [_Try(self.key, part, self.number + 1, self.history) for part in split(self.task)]

    def ended(self, end: End[Any]) -> Outcome[Task, Any]:
        self.history.in_a_row = 0
        return Outcome(self.key, self.task, end.value, end.error, False, self.history.tell(), end.seconds)

    def given_up(self) -> Outcome[Task, Any]:
        return Outcome(self.key, self.task, None, self.history.why, True, self.history.tell())


def map_unordered(
    executor: Executor,
    make_worker: Callable[[], Callable[[Task], Value]],
    tasks: Iterable[Task],
    *,
    timeout: Callable[[Task], float | None] = lambda task: None,
    split: Callable[[Task], Sequence[Task]] = lambda task: (),
    ready: Callable[[], bool] = lambda: True,
) -> Generator[Outcome[Task, Value]]:
    """Yield what comes of each task, in whatever order they end.

    Tasks are drawn as there is room for them, and while whoever waits for outcomes is ``ready`` for more, so that
    few are held at a time. What a task raises is its outcome, but for errors that concern all of the work, such as
    a worker that cannot be made.

    A task that is lost, with its worker or by its ``timeout`` in seconds, is tried once more while nothing else is
    under way; one that is lost again is ``split``, and so are its parts, one after the other, until what cannot be
    split stands alone. Where many tries in a row are lost the rest of the task is given up. Whoever leaves early
    closes the generator, so that no process stays behind.
    """
    crew: Crew | None = None
    tickets, drawn = count(), enumerate(tasks)
    under_way: dict[int, _Try[Task]] = {}
    again: deque[_Try[Task]] = deque()

    def begin(attempt: _Try[Task]) -> None:
        nonlocal crew
        crew = crew or executor.crew(make_worker)
        ticket = next(tickets)
        under_way[ticket] = attempt
        crew.begin(ticket, attempt.task, timeout(attempt.task))

    try:
        more = True
        while more or again or under_way:
            while (
                more and not again and (crew is None or len(under_way) < crew.room) and (ready() or not under_way)
            ):
                more = (following := next(drawn, None)) is not None
                if following is not None:
                    begin(_Try(*following))
            if again and not under_way:
                attempt = again.popleft()
                if attempt.history.in_a_row >= MOST_IN_VAIN:
                    yield attempt.given_up()
                else:
                    begin(attempt)
            if crew is None or not under_way:
                continue
            end = crew.end()
            attempt = under_way.pop(end.ticket)
            if not end.lost:
                yield attempt.ended(end)
                continue
            attempt.history.lose(end.lost)
            instead = attempt.following(split)
            # A first loss waits its turn; parts go before whatever else waits, so that something comes soon.
            if attempt.number == 1:
                again += instead
            else:
                again.extendleft(reversed(instead))
            if not instead:
                yield attempt.given_up()
    finally:
        if crew is not None:
            crew.close()
