"""An end to waiting for a database that does not answer, though its machine does."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer
from typing import Any
from weakref import WeakSet

from sqlalchemy import Engine, event

LONGEST = 600.0
"""Seconds that a transaction may take; one of 100,000 rows takes some ten."""


class Watch:
    """Ends the connections of an engine to Postgres once a transaction takes too long."""

    def __init__(self, engine: Engine) -> None:
        self._connections: WeakSet[Any] = WeakSet()
        self._needed = engine.dialect.name == "postgresql"
        if self._needed:
            event.listen(
                engine, "connect", lambda connection, record: self._connections.add(connection), insert=True
            )

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Watch a transaction, from before its connection is taken from the pool."""
        if not self._needed:
            yield
            return
        timer = Timer(LONGEST, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end(self) -> None:
        """End all connections: which one is stuck is not known, and work cut off is done again."""
        import psycopg

        for connection in list(self._connections):
            with suppress(OSError, psycopg.Error):
                borrowed = socket.socket(fileno=connection.fileno())
                try:
                    borrowed.shutdown(socket.SHUT_RDWR)
                finally:
                    borrowed.detach()
