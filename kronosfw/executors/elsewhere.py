"""What runs in another process: a worker, made once and then called with one task after another."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from threading import Thread
from typing import Any

from ..errors import ConfigError
from ..isolation import NEVER_ISOLATED, reason
from ..logs import Logging, printed
from .crew import MakeWorker

Answer = tuple[bytes, str, float]
"""What came of a task, pickled, or why it failed, and the seconds it took."""

_worker: list[Any] = []
"""What makes the worker, and once it was needed the worker."""


def receive(make_worker: MakeWorker, logs: Logging) -> None:
    """Take in what makes the worker; what is printed or logged here goes to stderr, as where it comes from."""
    logs.begin()
    sys.stdout = printed()
    _worker[:] = [make_worker]


def call(task: Any) -> Answer:
    """Do a task; raises what concerns all of the work, as one of NEVER_ISOLATED itself.

    Whatever else is raised, or cannot be pickled, is why the task failed.
    """
    try:
        if len(_worker) == 1:
            _worker.append(_made(_worker[0]))
        began = time.perf_counter()
        value = _worker[1](task)
        return bytes(ForkingPickler.dumps(value)), "", time.perf_counter() - began
    except NEVER_ISOLATED as error:
        raise next(kind for kind in NEVER_ISOLATED if isinstance(error, kind))(reason(error)) from None
    except BaseException as error:
        return b"", reason(error), 0.0


def _made(make_worker: Callable[[], Any]) -> Any:
    try:
        return make_worker()
    except BaseException as error:
        raise ConfigError(f"another process cannot do the work: {reason(error)}") from None


def serve(pipe: Connection, logs: Logging) -> None:
    """Answer what comes through a pipe, what makes the worker first, until its other end is closed."""
    # Ctrl-C reaches every process of a terminal; the first one decides when the others end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    make_worker = pipe.recv_bytes()

    def made() -> Any:
        return ForkingPickler.loads(make_worker)()

    receive(made, logs)
    pipe.send_bytes(b"")
    while True:
        try:
            task = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(_answer(task))


def _answer(task: bytes) -> bytes:
    """Return what came of a task, and the name of the error that concerns all of the work, if it is one."""
    try:
        return bytes(ForkingPickler.dumps((call(ForkingPickler.loads(task)), "")))
    except NEVER_ISOLATED as error:
        return bytes(ForkingPickler.dumps(((b"", str(error), 0.0), type(error).__name__)))
    except BaseException as error:
        return bytes(ForkingPickler.dumps(((b"", reason(error), 0.0), "")))


def _end_with_parent() -> None:
    """End when the process that started this one has ended, whatever this one is at."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def came(answer: Answer) -> tuple[Any, str, float]:
    """Return an answer with what came of the task, or why that cannot be had."""
    value, why, seconds = answer
    if why:
        return None, why, seconds
    try:
        return ForkingPickler.loads(value), "", seconds
    except Exception as error:
        return None, reason(error), seconds
