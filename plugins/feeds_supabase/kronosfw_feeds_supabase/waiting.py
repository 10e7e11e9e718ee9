"""A connection to Postgres that does not wait for its server without end."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, ClassVar, TypeVar

import psycopg

T = TypeVar("T")


class NoAnswer(psycopg.OperationalError):
    """The server, or what stands before it, let a statement's time pass; the connection is closed."""


class Connection(psycopg.Connection[Any]):
    """Bounds each answer by itself: a server's own time-out is of no use where the server is gone."""

    longest: ClassVar[float]
    """Seconds for a statement."""

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        return super().wait(self._bounded(gen), *args, **kwargs)

    def _bounded(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        end = time.monotonic() + self.longest
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if time.monotonic() > end:
                    self.pgconn.finish()
                    raise NoAnswer
                wanted = gen.send(ready)
        except StopIteration as done:
            answer: T = done.value
            return answer


def bounded(seconds: float) -> type[Connection]:
    """Return the class of connections whose statements may take so long."""
    return type("Connection", (Connection,), {"longest": seconds})
