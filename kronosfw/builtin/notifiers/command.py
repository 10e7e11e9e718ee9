"""The notifier ``command`` at work."""

from __future__ import annotations

import json
import os
import re
import subprocess
from tempfile import TemporaryFile
from typing import BinaryIO

from kronosfw.alerts import alert_as_json
from kronosfw.secrets import SHOWN, redact
from kronosfw.types import Alert

from . import Command

TAIL = 500
"""Bytes of what a program said that fails."""
_MARGIN = 4096
_SECRET = re.compile("pass|secret|token|key|auth|credential|cookie|dsn|url|webhook", re.IGNORECASE)
_SHORTEST = 4


class CommandNotifier:
    """See ``Command``."""

    def __init__(self, options: Command) -> None:
        self._options = options

    def notify(self, alert: Alert) -> None:
        """Run the program to its end; raises ChildProcessError unless it ends with exit code 0."""
        body = json.dumps(alert_as_json(alert), allow_nan=False).encode()
        with TemporaryFile() as said:
            trouble = self._run(body, said)
            if trouble:
                raise ChildProcessError(f"{trouble}{self._tail(said)}")

    def _run(self, body: bytes, said: BinaryIO) -> str:
        """Return what went wrong, in words that hold no argument; its standard error goes into the file."""
        options = self._options
        try:
            done = subprocess.run(  # noqa: S603 (no shell, and the user's own program)
                options.run,
                input=body,
                stdout=subprocess.DEVNULL,
                stderr=said,
                timeout=options.timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"the program was killed after {options.timeout:g} s"
        except OSError as error:
            return f"the program cannot be run: {error.strerror or type(error).__name__}"
        return f"the program ended with exit code {done.returncode}" if done.returncode else ""

    def _tail(self, said: BinaryIO) -> str:
        """Return the end of what the program said, without its arguments and what the environment keeps secret."""
        size = said.seek(0, os.SEEK_END)
        said.seek(max(size - TAIL - _MARGIN, 0))
        text = redact(said.read().decode("utf-8", "replace"))
        hidden = [*self._options.run[1:], *(v for name, v in os.environ.items() if _SECRET.search(name))]
        for word in sorted(hidden, key=len, reverse=True):
            if len(word) >= _SHORTEST:
                text = text.replace(word, SHOWN)
        text = " ".join(text[-TAIL:].split())
        return f": {text}" if text else ""
