"""Progress on stderr where that is a terminal, and silence where it is not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

from ..logs import Logging, printed
from .signals import draining

Progress = Callable[[str, int, int], None]


@contextmanager
def progress() -> Iterator[Progress]:
    """Yield what a long piece of work reports to, which ends it when a signal has come.

    What plugins print meanwhile goes to stderr: stdout is for results.
    """
    with draining() as drain, _display() as show, redirect_stdout(printed()):

        def report(stage: str, done: int, total: int) -> None:
            drain.check()
            show(stage, done, total)

        yield report


@contextmanager
def _display() -> Iterator[Progress]:
    if not sys.stderr.isatty() or Logging.current().format == "json":
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {"starting": bars.add_task("starting", total=None)}

        def show(stage: str, done: int, total: int) -> None:
            if "starting" in tasks:
                bars.remove_task(tasks.pop("starting"))
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show
