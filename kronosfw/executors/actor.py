"""One actor on a Ray cluster, as it is seen from here."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

_PULSE, _SILENCE = 10.0, 60.0
"""Seconds after which an actor at a task is asked whether it is there, and within which it has to answer."""


@dataclass(frozen=True, slots=True)
class Task:
    ticket: int
    task: Any
    timeout: float | None


@dataclass(slots=True, eq=False)
class Actor:
    """An actor as seen from here; what it was handed ends in the order in which it was."""

    handle: Any
    starting: Any
    """What tells that it has started; None once it has."""
    begun: deque[tuple[Task, Any]] = field(default_factory=deque)
    since: float = 0.0
    """When the first of these was begun, as far as is known here."""
    heard: float = 0.0
    asked: Any = None
    """An answer that is waited for."""

    @property
    def first(self) -> Any:
        """What is waited for next; None where nothing is."""
        if self.starting is not None:
            return self.starting
        return self.begun[0][1] if self.begun else None

    def begin(self, task: Task) -> None:
        if not self.begun:
            self.since = self.heard = time.monotonic()
        self.begun.append((task, self.handle.call.remote(task.task)))

    def pop(self) -> Task:
        """Return the task that has ended; the next one begins."""
        self.since = self.heard = time.monotonic()
        self.asked = None
        return self.begun.popleft()[0]

    def given_up(self) -> str:
        """Return why nothing is to be hoped for from what it is at; empty while something is."""
        now = time.monotonic()
        timeout = self.begun[0][0].timeout
        if timeout is not None and now - self.since > timeout and not has_ended(self.first):
            return f"it took longer than the {timeout:g} seconds it may"
        if self.asked is None:
            if now - self.heard > _PULSE:
                self.asked, self.heard = self.handle.pulse.remote(), now
        elif has_ended(self.asked):
            self.asked, self.heard = None, now
        elif now - self.heard > _SILENCE and not has_ended(self.first):
            return f"the actor that worked on it did not answer for {_SILENCE:g} seconds"
        return ""


def has_ended(reference: Any) -> bool:
    import ray

    return bool(ray.wait([reference], timeout=0, fetch_local=False)[0])
