"""Which executor a configuration wants."""

from __future__ import annotations

import os

from .config import Config, ProcessesOptions
from .executors import Executor, InProcess, Processes


def executor_for(config: Config, workers: int | None = None) -> Executor:
    """Return what the members' work is done by; with ``workers`` that many processes, or this one where it is one.

    Where a member has a timeout there is at least one process, for nothing could stop it here.
    """
    options = config.executor
    if workers is not None:
        options = ProcessesOptions(workers=workers)
    deadlines = any(forecaster.timeout is not None for forecaster in config.forecasters)
    if options.type == "ray":
        from .executors.cluster import Cluster

        return Cluster(options)
    if options.type == "in_process":
        return Processes(1) if deadlines else InProcess()
    count = options.workers or os.cpu_count() or 1
    return InProcess() if count == 1 and workers is not None and not deadlines else Processes(count)
