"""Work in processes beside this one, which may die or hang without harm."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import ConfigError
from ..isolation import NEVER_ISOLATED, reason
from ..logs import Logging, printed
from .crew import End, MakeWorker


@dataclass(frozen=True)
class Processes:
    """Does tasks in processes of its own, each with a share of the machine's threads."""

    here: ClassVar[bool] = False
    workers: int

    def crew(self, make_worker: MakeWorker) -> Pool:
        return Pool(self.workers, make_worker)


class Pool:
    """Processes that are replaced when they die or are at a task for too long."""

    def __init__(self, workers: int, make_worker: MakeWorker) -> None:
        from multiprocessing import get_context

        from pebble import ProcessPool

        self.room = 2 * workers
        self._under_way: dict[Any, tuple[int, float | None]] = {}
        with ExitStack() as stack:
            stack.enter_context(_fewer_threads(workers))
            self._pool = ProcessPool(
                max_workers=workers,
                context=get_context("spawn"),
                initializer=_receive,
                initargs=[make_worker, Logging.current()],
            )
            self._stack = stack.pop_all()

    def begin(self, ticket: int, task: Any, timeout: float | None) -> None:
        self._under_way[self._pool.schedule(call, args=[task], timeout=timeout)] = ticket, timeout

    def end(self) -> End[Any]:
        from multiprocessing.reduction import ForkingPickler

        from pebble import ProcessExpired

        ended = next(iter(wait(self._under_way, return_when=FIRST_COMPLETED).done))
        ticket, timeout = self._under_way.pop(ended)
        try:
            value, why, seconds = ended.result()
        except ProcessExpired as error:
            return End(ticket, None, lost=f"the process that worked on it died: {error}")
        except TimeoutError:
            return End(ticket, None, lost=f"it took longer than the {timeout:g} seconds it may")
        return End(ticket, None if why else ForkingPickler.loads(value), why, seconds=seconds)

    def close(self) -> None:
        with self._stack:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()


_worker: list[Any] = []
"""In a process of a pool: what makes its worker, and once it was needed the worker."""


def _receive(make_worker: MakeWorker, logs: Logging) -> None:
    """Make ready a process of a pool; what is printed or logged there goes to stderr, as it does here."""
    # Ctrl-C reaches every process of a terminal; the first one decides when the others end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.begin()
    sys.stdout = printed()
    _worker[:] = [make_worker]


def call(task: Any) -> tuple[bytes, str, float]:
    """Do a task in a process of a pool; return what came of it, pickled, or why it failed, and the seconds.

    What is raised or cannot be pickled would else end the process, or keep the other side waiting.
    """
    from multiprocessing.reduction import ForkingPickler

    try:
        if len(_worker) == 1:
            _worker.append(_made(_worker[0]))
        began = time.perf_counter()
        value = _worker[1](task)
        return bytes(ForkingPickler.dumps(value)), "", time.perf_counter() - began
    except NEVER_ISOLATED as error:
        raise next(kind for kind in NEVER_ISOLATED if isinstance(error, kind))(reason(error)) from None
    except (Exception, SystemExit) as error:
        return b"", reason(error), 0.0


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
