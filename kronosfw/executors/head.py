"""The head of a Ray cluster, without which nothing goes on: Ray ends a process that has lost it for a minute."""

from __future__ import annotations

import socket
import time

_EVERY, _UNANSWERED = 10.0, 3
"""Seconds after which the head is asked whether it is there, and how often in a row it may fail to answer."""


def knock(address: str) -> None:
    """Raise OSError or ValueError unless somebody listens at host:port; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=5.0).close()


class Head:
    """Knows whether the head still answers."""

    def __init__(self, address: str) -> None:
        """``address`` is its host:port, or empty where it is not to be asked."""
        self.address = address
        self._asked, self._unanswered = time.monotonic(), 0

    def is_lost(self) -> bool:
        """Ask, if it is time to, and return whether it has failed to answer for too long."""
        if self.address and time.monotonic() - self._asked >= _EVERY:
            try:
                knock(self.address)
                self._unanswered = 0
            except OSError:
                self._unanswered += 1
            self._asked = time.monotonic()
        return self._unanswered >= _UNANSWERED
