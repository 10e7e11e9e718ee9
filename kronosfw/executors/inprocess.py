"""Work in this process, one task after the other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

from ..isolation import NEVER_ISOLATED, reason
from .crew import End, MakeWorker


@dataclass(frozen=True)
class InProcess:
    """Does tasks here. Nothing can stop one that takes too long: a timeout needs another process."""

    here: ClassVar[bool] = True
    workers: ClassVar[int] = 1

    def crew(self, make_worker: MakeWorker) -> Alone:
        return Alone(make_worker)


class Alone:
    """One worker, which is at a task when its end is waited for."""

    room = 1

    def __init__(self, make_worker: MakeWorker) -> None:
        """Make the worker; raises whatever that raises."""
        self._work = make_worker()
        self._task: tuple[int, Any] | None = None

    def begin(self, ticket: int, task: Any, timeout: float | None) -> None:
        self._task = ticket, task

    def end(self) -> End[Any]:
        if self._task is None:
            raise RuntimeError("no task was handed in")
        (ticket, task), self._task = self._task, None
        began = time.perf_counter()
        try:
            value, error = self._work(task), ""
        except NEVER_ISOLATED:
            raise
        except (Exception, SystemExit) as failure:
            value, error = None, reason(failure)
        return End(ticket, value, error, seconds=time.perf_counter() - began)

    def close(self) -> None:
        pass
