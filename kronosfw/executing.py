"""Which executor a configuration wants."""

from __future__ import annotations

import os

from .config import Config, ProcessesOptions, RayOptions
from .executors import Executor, InProcess, Processes


def executor_for(config: Config, workers: int | None = None) -> Executor:
    """Return what does the members' work; with ``workers`` so many processes, or this one where it is one.

    Where a member has a timeout there is at least one process, for nothing could stop it here.
    """
    match config.executor if workers is None else workers:
        case RayOptions() as options:
            from .executors.cluster import Cluster

            return Cluster(options)
        case ProcessesOptions(workers=count):
            return Processes(count or os.cpu_count() or 1)
        case int(count) if count > 1:
            return Processes(count)
        case _:
            deadlines = any(forecaster.timeout is not None for forecaster in config.forecasters)
            return Processes(1) if deadlines else InProcess()
