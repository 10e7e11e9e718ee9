"""Where work is done: in this process, or in others beside it that may die without harm.

A worker is made once in each process, from what can be sent there, and then called with one task after another.
Results do not depend on where or in which order tasks are done.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from .errors import ConfigError
from .isolation import NEVER_ISOLATED, reason
from .secrets import log_to_stderr

Task = TypeVar("Task")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Value]):
    """What came of one task."""

    key: int
    """The task's place among all."""
    value: Value | None
    """None where it failed."""
    error: str = ""
    """Why it failed; empty where it did not."""


class Executor(Protocol):
    """Does tasks."""

    def map_unordered(
        self, make_worker: Callable[[], Callable[[Task], Value]], tasks: Iterable[Task]
    ) -> Generator[Outcome[Value]]:
        """Yield what comes of each task, in whatever order they end.

        Tasks are drawn as there is room for them, so that only a few are held at a time. What a task raises is its
        outcome, but for errors that concern all of the work, such as a worker that cannot be made. Whoever leaves
        before the end closes the generator, so that no process stays behind.
        """
        ...


class InProcess:
    """Does one task after the other, here."""

    def map_unordered(
        self, make_worker: Callable[[], Callable[[Task], Value]], tasks: Iterable[Task]
    ) -> Generator[Outcome[Value]]:
        worker = make_worker()
        for key, task in enumerate(tasks):
            try:
                value = worker(task)
            except NEVER_ISOLATED:
                raise
            except (Exception, SystemExit) as error:
                yield Outcome(key, None, reason(error))
            else:
                yield Outcome(key, value)


@dataclass(frozen=True)
class Processes:
    """Does tasks in processes of its own, each with a share of the machine's threads.

    A process that dies takes its task with it: the task is tried once more in a fresh one.
    """

    workers: int

    def map_unordered(
        self, make_worker: Callable[[], Callable[[Task], Value]], tasks: Iterable[Task]
    ) -> Generator[Outcome[Value]]:
        from multiprocessing import get_context
        from multiprocessing.reduction import ForkingPickler

        from pebble import ProcessExpired, ProcessPool

        with (
            _fewer_threads(self.workers),
            ProcessPool(
                max_workers=self.workers,
                context=get_context("spawn"),
                initializer=_receive,
                initargs=[make_worker, logging.getLogger().getEffectiveLevel()],
            ) as pool,
        ):
            under_way: deque[tuple[int, Task, int, Any]] = deque()

            def start(key: int, task: Task, tries: int) -> None:
                under_way.append((key, task, tries, pool.schedule(_call, args=[task])))

            def finish() -> Iterator[Outcome[Value]]:
                key, task, tries, future = under_way.popleft()
                try:
                    value, why = future.result()
                    yield Outcome(key, None if why else ForkingPickler.loads(value), why)
                except ProcessExpired as error:
                    if tries:
                        yield Outcome(key, None, f"the process that worked on it died twice: {error}")
                    else:
                        start(key, task, tries + 1)

            try:
                for key, task in enumerate(tasks):
                    start(key, task, 0)
                    if len(under_way) >= 2 * self.workers:
                        yield from finish()
                while under_way:
                    yield from finish()
            except BaseException:
                pool.stop()  # type: ignore[no-untyped-call]
                raise


def executor(workers: int) -> Executor:
    """Return what does work with so many processes, or in this one where it is one."""
    return InProcess() if workers == 1 else Processes(workers)


def in_order(outcomes: Iterable[Outcome[Value]]) -> Iterator[Outcome[Value]]:
    """Yield outcomes in the order of their tasks."""
    early: dict[int, Outcome[Value]] = {}
    wanted = 0
    for outcome in outcomes:
        early[outcome.key] = outcome
        while wanted in early:
            yield early.pop(wanted)
            wanted += 1


_worker: list[Any] = []
"""In a process of a pool: what makes its worker, and once it was needed the worker."""


def _receive(make_worker: Callable[[], Any], level: int) -> None:
    """Make ready a process of a pool; what is printed or logged there goes to stderr, as it does here."""
    sys.stdout = sys.stderr
    log_to_stderr(level)
    _worker[:] = [make_worker]


def _call(task: Any) -> tuple[bytes, str]:
    """Do a task in a process of a pool; return what came of it, pickled, or why it failed.

    What is raised or cannot be pickled would else end the process, or keep the other side waiting.
    """
    from multiprocessing.reduction import ForkingPickler

    try:
        if len(_worker) == 1:
            _worker.append(_made(_worker[0]))
        return bytes(ForkingPickler.dumps(_worker[1](task))), ""
    except NEVER_ISOLATED as error:
        raise next(kind for kind in NEVER_ISOLATED if isinstance(error, kind))(reason(error)) from None
    except (Exception, SystemExit) as error:
        return b"", reason(error)


def _made(make_worker: Callable[[], Any]) -> Any:
    try:
        return make_worker()
    except (Exception, SystemExit) as error:
        raise ConfigError(f"another process cannot do the work: {reason(error)}") from None


@contextmanager
def _fewer_threads(workers: int) -> Iterator[None]:
    """Give processes that are started meanwhile their share of the threads that numerical libraries use."""
    share = str(max((os.cpu_count() or 1) // workers, 1))
    names = [
        name for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if name not in os.environ
    ]
    os.environ.update(dict.fromkeys(names, share))
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
