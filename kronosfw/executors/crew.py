"""What an executor provides: workers that begin tasks and end them. All else is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Value = TypeVar("Value")

MakeWorker = Callable[[], Callable[[Any], Any]]
"""Makes a worker: can be sent to another process, and is called once there."""


@dataclass(frozen=True, slots=True)
class End(Generic[Value]):
    """How one try at a task ended."""

    ticket: int
    value: Value | None
    error: str = ""
    """Why the task failed: it would again."""
    lost: str = ""
    """Why nothing is known of it: its worker died, or it took longer than it may. Another try may do better."""
    seconds: float = 0.0
    """How long the worker was at it; 0 where it was lost."""


class Crew(Protocol):
    """Workers, made and ready."""

    @property
    def room(self) -> int:
        """How many tasks may be handed in at a time, at least 1."""
        ...

    def begin(self, ticket: int, task: Any, timeout: float | None) -> None:
        """Hand in a task, which may take so many seconds once a worker is at it."""
        ...

    def end(self) -> End[Any]:
        """Wait until one of the tasks handed in has ended; raises what concerns all of the work."""
        ...

    def close(self) -> None:
        """Leave nothing behind; what is under way is not waited for."""
        ...


class Executor(Protocol):
    """Gathers workers."""

    @property
    def here(self) -> bool:
        """Whether work is done in this process: what is there already need not be made again."""
        ...

    @property
    def workers(self) -> int:
        """How many tasks are done side by side, as far as is known before any is."""
        ...

    def crew(self, make_worker: MakeWorker) -> Crew:
        """Return workers; raises ConfigError where there can be none."""
        ...
