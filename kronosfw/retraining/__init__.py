"""Retraining: asset class by asset class, due? → train → judge → promote or reject → retain.

A class that fails is reported and the others go on. What serves changes in one step, the promotion, and only where
the checkpoint policy admits the candidate.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from ..alerts import raise_alert
from ..checkpoints import Shelf
from ..config import Config
from ..isolation import reason
from ..pipeline import silent
from ..plugins import Plugins
from ..reading import Progress
from ..types import Alert
from .outcomes import Ending, Outcome, RetrainReport
from .round import retrain_class
from .task import Task, Wishes

__all__ = ["Ending", "Outcome", "RetrainReport", "retrain"]


def retrain(
    config: Config,
    plugins: Plugins,
    *,
    classes: Sequence[str] | None = None,
    if_due: bool = False,
    dry_run: bool = False,
    force: bool = False,
    now: datetime | None = None,
    progress: Progress = silent,
) -> RetrainReport:
    """Retrain each asset class, or those named, and let the checkpoint policy decide what serves.

    With ``if_due`` only where the policy says that a training is due, on data that end where it was; otherwise on
    data that end ``now``. ``dry_run`` changes nothing. ``force`` promotes what the policy rejects by its scores,
    never what has a fault. Raises ConfigError for a user's mistake that concerns every class, and Interrupted if
    ``progress`` does. Run again after it was killed, it goes on where it was.
    """
    began = time.monotonic()
    task = Task.of(config, plugins, now or datetime.now(UTC), Wishes(if_due, dry_run, force), progress)
    names = task.classes(classes)
    damaged = () if dry_run else _recover_base(task)
    outcomes = tuple(retrain_class(task, name) for name in names)
    return RetrainReport(outcomes, task.now, time.monotonic() - began, damaged)


def _recover_base(task: Task) -> tuple[str, ...]:
    """Tidy up among the pooled checkpoints, on which every class falls back; return what was damaged."""
    shelf = Shelf(task.root, None)
    if not shelf.folder.exists():
        return ()
    try:
        told = shelf.recover()
    except (Exception, SystemExit) as error:
        told = [reason(error)]
    for text in told:
        raise_alert(Alert("damaged", "base", text, task.now), task.config, task.plugins)
    return tuple(told)
