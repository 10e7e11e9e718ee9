"""The run: feed → windows → encoders → forecasters → ensembler → store → report.

Symbols are forecast some at a time. What comes of a batch is written with a note of what that finishes, and let go:
memory does not grow with the number of symbols, and a run that dies is resumed where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from . import prometheus
from .config import Config
from .errors import ConfigError, DataError, FeedDown, StoreError
from .journal import RUNNING
from .plugins import Plugins
from .reading import Progress
from .runs import Run, RunReport
from .store import Row, Store
from .undertaking import Undertaking, about

log = logging.getLogger(__name__)


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""


def run(
    config: Config,
    plugins: Plugins,
    *,
    as_of: datetime | str | None = None,
    symbols: Sequence[str] | None = None,
    explain: bool = False,
    resume: bool = False,
    progress: Progress = silent,
) -> RunReport:
    """Forecast the symbols as of a cutoff and store the results, with ``explain`` what moved them as well.

    With ``resume``, what an earlier run finished with the same inputs is not done again. If the last run of these
    symbols with this configuration did not end, that is finished first, as of its cutoff, and unless ``as_of`` is
    given; what is reported is the run as of the later cutoff.

    Raises ConfigError for a user's mistake, DataError where fewer than ``min_symbols`` of the symbols can be
    forecast (nothing is written where that is known before), StoreError where the results can be written nowhere,
    and Interrupted, once what is under way is written, if ``progress`` does. Running again with the same inputs
    changes nothing.
    """
    if explain and not config.encoders:
        raise ConfigError("there is nothing to explain without events: list `encoders:`, or leave out --explain")
    subject = Run(config, _chosen(config, symbols), as_of or config.as_of, datetime.now(UTC), explain)
    metrics = config.metrics
    if metrics is not None:
        prometheus.require()
    plugins.notify("before_run", run=subject)
    try:
        report = _run(subject, plugins, progress, resume=resume, cutoff_given=as_of is not None)
    except BaseException as error:
        if metrics is not None:
            seconds = (datetime.now(UTC) - subject.started_at).total_seconds()
            prometheus.write_failure(metrics.path, error, seconds, metrics.labels)
        plugins.notify("on_run_error", run=subject, error=error)
        raise
    if metrics is not None:
        prometheus.write_run(metrics.path, report, metrics.labels)
    plugins.notify("after_run", run=subject, report=report)
    return report


def _chosen(config: Config, symbols: Sequence[str] | None) -> tuple[str, ...]:
    unknown = [s for s in symbols or () if s not in config.universe]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: not in the universe of the configuration")
    chosen = config.forecast_symbols if symbols is None else tuple(dict.fromkeys(symbols))
    if not chosen:
        raise ConfigError("there is nothing to forecast: no symbol was named, or every one has `forecast: false`")
    return chosen


def _open(config: Config) -> tuple[Store | None, str]:
    """Open the store; where it cannot be used the run goes on, and its results are spooled."""
    try:
        return Store.of(config), ""
    except StoreError as error:
        return None, str(error)


def _run(subject: Run, plugins: Plugins, progress: Progress, *, resume: bool, cutoff_given: bool) -> RunReport:
    store, trouble = _open(subject.config)
    with store or nullcontext():
        undertaking = partial(Undertaking, plugins=plugins, store=store, trouble=trouble, progress=progress)
        unended = _unended(subject, store) if resume and store is not None and not cutoff_given else None
        if store is None or unended is None:
            return undertaking(subject).run(resume=resume)
        cutoff = datetime.fromisoformat(unended["manifest"]["cutoff"].removesuffix("Z")).replace(tzinfo=UTC)
        log.info("the run as of %s did not end", cutoff, extra={"run_id": unended["id"]})
        try:
            report = undertaking(replace(subject, as_of=cutoff)).run(resume=True)
        except FeedDown:
            raise
        except DataError as error:
            log.warning("the run as of %s did not end, and cannot: %s", cutoff, error)
            store.record({**unended, "state": "failed", "finished_at": datetime.now(UTC)}, [])
            return undertaking(subject).run(resume=True)
        if report.trouble:
            return report
        later = undertaking(replace(subject, started_at=datetime.now(UTC)))
        if later.cutoff <= report.cutoff:
            return report
        log.warning("the run as of %s, which had not ended, was finished first", cutoff)
        return later.run(resume=True)


def _unended(subject: Run, store: Store) -> Row | None:
    """Return the last run like this one, if it did not end."""
    try:
        last = store.newest(about(subject))
    except StoreError as error:
        log.warning("it is not known what can be resumed: %s", error)
        return None
    return last if last is not None and last["state"] == RUNNING else None
