"""What runs on a node of a Ray cluster."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Any, TextIO, cast

from .. import __version__
from ..logs import Logging
from ..secrets import redact
from . import elsewhere
from .crew import MakeWorker


class _Said(io.StringIO):
    """What is printed or logged: to the node's own log, and kept to be told where the results go."""

    def write(self, text: str) -> int:
        text = redact(text)
        os.write(self.fileno(), text.encode(errors="replace"))
        return super().write(text)

    def fileno(self) -> int:
        return 2

    def taken(self) -> str:
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


class Worker:
    """What an actor does; its methods are called in its process, on a node of the cluster."""

    def receive(self, make_worker: MakeWorker, logs: Logging) -> str:
        """Take in what makes the worker; return the version of kronosfw there.

        This is no argument of the actor's own making, for those the cluster would keep, with the secrets in them.
        """
        self._said = _Said()
        sys.stderr = cast(TextIO, self._said)
        # Ray's own would add to every record.
        logging.setLogRecordFactory(logging.LogRecord)
        elsewhere.receive(make_worker, logs)
        return __version__

    def call(self, task: Any) -> tuple[elsewhere.Answer, str]:
        """Return what came of a task, and what was said meanwhile."""
        return elsewhere.call(task), self._said.taken()

    def pulse(self) -> None:
        """Answer, from a thread of its own."""
