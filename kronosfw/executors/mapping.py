"""Tasks handed to a crew as there is room, and again where a worker was lost over them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Generic, TypeVar

from .crew import Crew, Executor

Task = TypeVar("Task")
Value = TypeVar("Value")

_MOST_LOST, MOST_IN_VAIN = 20, 8
"""Tries of one task that may be lost in all, and before anything has come of it."""


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
    attempts: int = 1
    seconds: float = 0.0


@dataclass(slots=True)
class _History:
    """How the tries of one task, and of its parts, went."""

    lost: int = 0
    came: bool = False
    why: str = ""
    """Why the last of them was lost."""

    @property
    def hopeless(self) -> bool:
        return self.lost >= _MOST_LOST or (self.lost >= MOST_IN_VAIN and not self.came)


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

    def given_up(self) -> Outcome[Task, Any]:
        return Outcome(self.key, self.task, None, self.history.why, True, self.number)


def map_unordered(
    executor: Executor,
    make_worker: Callable[[], Callable[[Task], Value]],
    tasks: Iterable[Task],
    *,
    timeout: Callable[[Task], float | None] = lambda task: None,
    split: Callable[[Task], Sequence[Task]] = lambda task: (),
) -> Generator[Outcome[Task, Value]]:
    """Yield what comes of each task, in whatever order they end.

    Tasks are drawn as there is room for them, so that only a few are held at a time. What a task raises is its
    outcome, but for errors that concern all of the work, such as a worker that cannot be made.

    A task that is lost, with its worker or by its ``timeout`` in seconds, is tried once more while nothing else is
    under way; one that is lost again is ``split``, and so are its parts, until what cannot be split stands alone.
    Where nothing comes of many tries the rest of the task is given up. Whoever leaves before the end closes the
    generator, so that no process stays behind.
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
            while more and not again and (crew is None or len(under_way) < crew.room):
                more = (following := next(drawn, None)) is not None
                if following is not None:
                    begin(_Try(*following))
            if again and not under_way:
                attempt = again.popleft()
                if attempt.history.hopeless:
                    yield attempt.given_up()
                else:
                    begin(attempt)
            if crew is None or not under_way:
                continue
            end = crew.end()
            attempt = under_way.pop(end.ticket)
            history = attempt.history
            if not end.lost:
                history.came = True
                yield Outcome(attempt.key, attempt.task, end.value, end.error, False, attempt.number, end.seconds)
                continue
            history.lost, history.why = history.lost + 1, end.lost
            following_tries = attempt.following(split)
            again += following_tries
            if not following_tries:
                yield attempt.given_up()
    finally:
        if crew is not None:
            crew.close()
