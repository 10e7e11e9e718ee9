"""Work in processes beside this one, which may die or hang without harm."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from threading import Thread
from typing import Any, ClassVar

from ..errors import ConfigError
from ..isolation import NEVER_ISOLATED, reason
from ..logs import Logging
from .crew import End, MakeWorker
from .elsewhere import came, serve

_STARTS = 3
"""Times in a row that a process may die before it is ready."""
_Handed = tuple[int, bytes, float | None]
"""A ticket, its task and the seconds it may take."""


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
        """Start the processes; raises ConfigError where what makes a worker cannot be sent to them."""
        self.room = 2 * workers
        self._tasks: SimpleQueue[_Handed | None] = SimpleQueue()
        self._ends: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        try:
            made = bytes(ForkingPickler.dumps(make_worker))
        except Exception as error:
            raise ConfigError(f"what the work needs cannot be sent to another process: {reason(error)}") from None
        with ExitStack() as stack:
            stack.enter_context(_fewer_threads(workers))
            self._keepers = [_Keeper(made, self._tasks, self._ends) for _ in range(workers)]
            for keeper in self._keepers:
                keeper.start()
            self._stack = stack.pop_all()

    def begin(self, ticket: int, task: Any, timeout: float | None) -> None:
        try:
            self._tasks.put((ticket, bytes(ForkingPickler.dumps(task)), timeout))
        except Exception as error:
            self._ends.put((ticket, ((b"", reason(error), 0.0), "")))

    def end(self) -> End[Any]:
        ticket, became = self._ends.get()
        if isinstance(became, Exception):
            raise became
        if isinstance(became, str):
            return End(ticket, None, lost=became)
        answer, kind = became
        value, why, seconds = came(answer)
        for error in NEVER_ISOLATED:
            if error.__name__ == kind:
                raise error(why)
        return End(ticket, value, why, seconds=seconds)

    def close(self) -> None:
        with self._stack:
            for keeper in self._keepers:
                keeper.leave()
            for _ in self._keepers:
                self._tasks.put(None)
            for keeper in self._keepers:
                keeper.join()


class _Keeper(Thread):
    """Keeps one process: hands it tasks, and puts another in its place when it dies or hangs."""

    def __init__(self, make_worker: bytes, tasks: SimpleQueue[_Handed | None], ends: SimpleQueue[Any]) -> None:
        super().__init__(daemon=True)
        self._make_worker, self._tasks, self._ends = make_worker, tasks, ends
        self._process: Any = None
        self._pipe: Connection | None = None
        self._left = False

    def run(self) -> None:
        while (handed := self._tasks.get()) is not None and not self._left:
            ticket, task, timeout = handed
            try:
                self._ends.put((ticket, self._became(task, timeout)))
            except Exception as error:
                self._ends.put((ticket, error))
        self._kill()

    def leave(self) -> None:
        """End as soon as may be; what is under way is not waited for."""
        self._left = True
        if self._process is not None:
            self._process.kill()

    def _became(self, task: bytes, timeout: float | None) -> Any:
        """Return what the process answers, or why it does not; raises ConfigError where there can be none."""
        pipe = self._ready()
        with suppress(OSError):
            pipe.send_bytes(task)
        if not wait([pipe, self._process.sentinel], timeout):
            self._kill()
            return f"it took longer than the {timeout:g} seconds it may"
        try:
            return ForkingPickler.loads(pipe.recv_bytes())
        except Exception:
            self._kill()
            return f"the process that worked on it died: {_end_of(self._process.exitcode)}"

    def _ready(self) -> Connection:
        """Return the pipe to a process that waits for a task, a fresh one where there is none."""
        if self._pipe is not None and self._process.is_alive():
            return self._pipe
        for _ in range(_STARTS):
            self._kill()
            self._pipe, its = get_context("spawn").Pipe()
            self._process = get_context("spawn").Process(target=serve, args=(its, Logging.current()), daemon=True)
            self._process.start()
            its.close()
            if self._left:
                break
            with suppress(OSError, EOFError):
                self._pipe.send_bytes(self._make_worker)
                self._pipe.recv_bytes()
                return self._pipe
        self._kill()
        raise ConfigError(f"a process for the work cannot be started: {_end_of(self._process.exitcode)}")

    def _kill(self) -> None:
        if self._process is not None and self._pipe is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._pipe = None


def _end_of(code: int) -> str:
    """Return how a process ended."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"signal {-code}"
    return f"exit code {code}"


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
