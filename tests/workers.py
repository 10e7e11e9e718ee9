"""Workers for tests of executors; other processes read this, so it needs little."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kronosfw.errors import ConfigError
from kronosfw.executors import End
from kronosfw.secrets import remember


class TwoWordedError(Exception):
    """An error that cannot be made again from its text."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


class Bomb:
    """What goes off where it is received."""

    def __reduce__(self) -> Any:
        return go_off, ()


def go_off() -> None:
    raise RuntimeError("unfit to be received")


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
        case "exit":
            os._exit(0)
        case "interrupt":
            raise KeyboardInterrupt
        case "generator":
            raise GeneratorExit
        case "bomb":
            return Bomb()
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


def listing() -> Callable[[Any], Any]:
    """Make a worker that hands lists back, unless something in one is deadly."""

    def hand_back(items: list[Any]) -> list[Any]:
        for item in items:
            if isinstance(item, Path):
                with item.open("ab") as deaths:
                    deaths.write(b".")
            if isinstance(item, Path) or item == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        return items

    return hand_back


class FickleCrew:
    """An executor and its crew in one, which loses tries as it is told and ends them in any order."""

    here, workers = True, 1

    def __init__(self, room: int, lost: Iterator[bool], order: random.Random) -> None:
        self.room, self._lost, self._order = room, lost, order
        self._under_way: list[tuple[int, Any]] = []
        self.most, self.closed = 0, False

    def crew(self, make_worker: Any) -> FickleCrew:
        return self

    def begin(self, ticket: int, task: Any, timeout: float | None) -> None:
        self._under_way.append((ticket, task))
        self.most = max(self.most, len(self._under_way))

    def end(self) -> End[Any]:
        ticket, task = self._under_way.pop(self._order.randrange(len(self._under_way)))
        return End(ticket, None, lost="gone") if next(self._lost, False) else End(ticket, task)

    def close(self) -> None:
        self.closed = True


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
