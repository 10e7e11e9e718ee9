"""The two locks of a home: one for the moment of a change, one for the hours of a retraining."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ..errors import Interrupted
from ..files import locked

_PATIENCE = 30.0
"""Seconds that a change waits for another one to end."""


@contextmanager
def changing(path: Path, name: str) -> Iterator[None]:
    """Hold the lock of a change, having waited for it; raises Interrupted where that takes long."""
    until = time.monotonic() + _PATIENCE
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(path))
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Interrupted(
                        f"another process has been changing the checkpoints of {name} for {_PATIENCE:.0f} s; "
                        "nothing was changed, run again"
                    ) from None
            time.sleep(0.02)
        yield


@contextmanager
def retraining(path: Path, name: str) -> Iterator[None]:
    """Hold the lock of a retraining; raises Interrupted at once where another process does."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path))
        except BlockingIOError:
            holder = "by another process"
            with suppress(OSError, UnicodeDecodeError):
                holder = path.read_text("utf-8").strip() or holder
            raise Interrupted(f"another retraining of {name} is under way ({holder})") from None
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", "utf-8")
        yield
