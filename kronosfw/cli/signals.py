"""Leaving on a signal: the first one ends the command at the next safe point, the second one at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import Interrupted


class Drain:
    """Remembers that the user, or the system, asked to stop."""

    def __init__(self) -> None:
        self._asked = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self._asked:
            os._exit(128 + number)
        self._asked = True

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self._asked:
            raise Interrupted("stopped on a signal; nothing was written, run again to finish")


@contextmanager
def draining() -> Iterator[Drain]:
    """Handle SIGINT and SIGTERM by draining for as long as the block lasts."""
    drain = Drain()
    before = {number: signal.signal(number, drain.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield drain
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
