"""Workers for tests of executors; other processes read this, so it needs little."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kronosfw.errors import ConfigError
from kronosfw.secrets import remember


class TwoWordedError(Exception):
    """An error that cannot be made again from its text."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


def obeying() -> Callable[[Any], Any]:
    """Make a worker that squares numbers and does as told by texts."""
    return obey


def obey(task: Any) -> Any:
    match task:
        case int():
            return os.getpid(), task * task
        case "raise":
            raise TwoWordedError("no", "luck")
        case "leave":
            raise SystemExit("I am off")
        case "config":
            raise ConfigError("nobody can work like this")
        case "function":
            return lambda: None
        case "threads":
            return os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]
        case float():
            return time.sleep(task)
        case Path():
            return _die(task)


def _die(lives: Path) -> str:
    """Die as often as there are lives left, one for each byte of a file."""
    left = len(lives.read_bytes())
    lives.write_bytes(bytes(max(left - 1, 0)))
    if left:
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def unmade() -> Callable[[Any], Any]:
    """Make no worker."""
    raise MemoryError("no room")


def talking(options: Any) -> Callable[[Any], Any]:
    """Make a worker that prints, and logs a secret that it was told to keep."""
    remember(options)

    def tell(secret: str) -> None:
        print("so to speak", flush=True)
        logging.getLogger("talking").warning("it is %s", secret)
        raise RuntimeError(f"no luck with {secret}")

    return tell
