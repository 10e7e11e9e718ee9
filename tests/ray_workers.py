"""Workers and a forecaster for tests of Ray; its processes read this."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from kronosfw.errors import ConfigError
from kronosfw.hookspec import hookimpl
from kronosfw.interfaces import ForecasterConfig
from tests.workers import obey


def placed() -> Callable[[Any], Any]:
    """Make a worker that tells where it is or falls silent, and obeys in all else."""
    return place


def place(task: Any) -> Any:
    match task:
        case "node":
            time.sleep(0.1)
            return node()
        case "threads":
            return os.environ["OMP_NUM_THREADS"]
        case "silence", once:
            if once.exists():
                once.unlink()
                os.kill(os.getpid(), signal.SIGSTOP)
            return "heard"
        case bytes():
            return len(task)
        case _:
            return obey(task)


def unwilling() -> Callable[[Any], Any]:
    """Make no worker."""
    raise ConfigError("nobody can work like this")


def node() -> str:
    import ray

    return ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"


class Roaming(ForecasterConfig):
    """Says the last close, and leaves a trace of where it said so."""

    type: Literal["roaming"] = "roaming"
    traces: Path
    max_context: ClassVar[int] = 50

    def build(self) -> Roaming:
        return self

    def forecast(self, windows, levels):
        (self.traces / node()).touch()
        time.sleep(0.05 * len(windows))
        return [w.forecast(levels, w.bars.close[-1] + np.tile(levels, (w.horizon, 1))) for w in windows]


class Roams:
    @hookimpl
    def register_forecasters(self):
        return [Roaming]
