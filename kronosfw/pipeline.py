"""The run: feed → windows → encoders → forecasters → ensembler → store → report.

Symbols are forecast some at a time. What comes of a batch is written with a note of what that finishes, and let go:
memory does not grow with the number of symbols, and a run that dies is resumed where it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from . import prometheus
from .config import Config
from .drift import Departure, watch_drift
from .errors import ConfigError, DataError, Interrupted, StoreError
from .executing import executor_for
from .explain import explain_members
from .forecasting import Told, Troupe
from .isolation import reason
from .journal import RUNNING, Journal
from .lessons import Stored
from .manifest import digest, fingerprint, manifest, relevant, run_id
from .members import Member, build_members, longest_context
from .plugins import Plugins
from .reading import Failure, Progress, listed
from .rows import as_datetime, prediction_rows
from .runs import Run, RunReport
from .serving import Server, build_server
from .store import Row, Store, learned_row
from .survey import Survey
from .types import Forecast, Window

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

    With ``resume``, what an earlier run finished with the same inputs is not done again, and if the last run of
    these symbols with this configuration did not end, this one has its cutoff.

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
        store, trouble = _open(config)
        with store or nullcontext():
            if resume and store is not None:
                subject = _resumed(subject, store, cutoff_given=as_of is not None)
            report = _UnderWay(subject, plugins, store, trouble, progress).run(resume)
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


def _about(subject: Run) -> str:
    """Return what runs have in common that forecast the same symbols in the same way, whatever the cutoff."""
    return digest([relevant(subject.config), subject.symbols], 16)


def _resumed(subject: Run, store: Store, *, cutoff_given: bool) -> Run:
    """Return the run with the cutoff of the last one like it, if that did not end."""
    try:
        last = store.newest(_about(subject))
    except StoreError as error:
        log.warning("it is not known what can be resumed: %s", error)
        return subject
    if last is None or last["state"] != RUNNING or cutoff_given:
        return subject
    cutoff = last["manifest"]["cutoff"].removesuffix("Z")
    log.info("resuming run %s as of %s UTC", last["id"], cutoff)
    return replace(subject, as_of=datetime.fromisoformat(cutoff).replace(tzinfo=UTC))


class _UnderWay:
    """A run under way."""

    def __init__(
        self, subject: Run, plugins: Plugins, store: Store | None, trouble: str, progress: Progress
    ) -> None:
        """``trouble`` says why there is no store."""
        self._subject, self._config, self._plugins = subject, subject.config, plugins
        self._store, self._trouble, self._progress = store, trouble, progress
        self._failures: list[Failure] = []
        self._forecasts: list[Forecast] = []
        self._windows: dict[str, Window] = {}
        self._resumed: list[str] = []
        self._took: dict[str, float] = {}
        self._retried = 0
        self._written = False
        self._left = 0
        """Symbols whose turn has not come."""

    def run(self, resume: bool) -> RunReport:
        """Do all of it."""
        subject, config = self._subject, self._config
        members, failed = build_members(config, self._plugins, subject.symbols)
        self._failures += failed
        self._members = members
        self._server, failed = build_server(config.ensembler, config, self._plugins)
        self._failures += failed
        began = time.perf_counter()
        self._survey = survey = Survey(
            config, subject.symbols, subject.as_of, longest_context(members, config), self._progress
        )
        self._spent("reading", began)
        self._failures += survey.failures
        self._left = len(survey.symbols)
        self._require()
        self._lessons = Stored(self._store, as_datetime(survey.cutoff), config.freq, config.horizon)
        self._taught = self._server.learn(self._lessons, survey.cutoff)
        self._failures += self._taught.failures
        classes = {config.universe[symbol].asset_class for symbol in subject.symbols}
        self._versions = _versions(members, self._server, classes)
        content = self._manifest()
        self._journal = Journal(
            self._store,
            self._trouble,
            config.spool,
            {
                "id": run_id(content),
                "started_at": subject.started_at,
                "manifest": content,
                "subject": _about(subject),
            },
        )
        self._id = run_id(content)
        about = {"run_id": self._id, "stage": "reading", "seconds": round(self._took["reading"], 3)}
        log.info("%d symbols as of %s UTC", len(survey.symbols), survey.cutoff, extra=about)
        self._finished = self._worked() if resume else {}
        try:
            stopped = self._forecast()
        except DataError:
            if self._written:
                self._journal.close("failed", self._report(content).as_json())
            raise
        report = self._report(content)
        if stopped is not None:
            raise Interrupted(
                f"stopped on a signal when {len(report.served)} of {len(report.symbols)} symbols were forecast; "
                "`kronosfw run FILE --resume` goes on from there"
            ) from stopped
        self._journal.close("partial" if report.failures else "done", report.as_json())
        report = replace(report, **self._where(), drifts=self._drifts(report))
        return replace(report, seconds=(datetime.now(UTC) - subject.started_at).total_seconds())

    def _manifest(self) -> dict[str, Any]:
        return manifest(
            self._config,
            self._plugins,
            self._survey.cutoff,
            symbols=list(self._survey.symbols),
            data=self._survey.data,
            models=self._versions,
            learned={name: its.digest for name, its in self._taught.learned.items()},
        )

    def _forecast(self) -> Interrupted | None:
        """Forecast and write batch by batch; return what asked to stop before the end."""
        config, executor = self._config, executor_for(self._config)
        troupe = Troupe(self._members, config, self._server.member_levels, executor)
        total, done = len(self._survey.symbols), dict.fromkeys((m.name for m in self._members), 0)
        stopped: Interrupted | None = None

        def show(stage: str, count: int, of: int) -> None:
            nonlocal stopped
            try:
                self._progress(stage, count, of)
            except Interrupted as asked:
                stopped = asked

        def counted(member: str, more: int) -> None:
            done[member] += more
            show(member, done[member], total)

        # Every worker has something to do, and what is held at a time stays small.
        size = max(min(config.batch, -(-total // executor.workers)), 1)
        under_way: list[_Batch] = []

        def windows() -> Iterator[Sequence[Window]]:
            for start in range(0, total, size):
                show("forecasting", start, total)
                if stopped is not None:
                    return
                under_way.append(self._cut(self._survey.symbols[start : start + size]))
                yield list(under_way[-1].windows.values())

        with closing(troupe.forecast(windows(), counted)) as told:
            for its in told:
                self._keep(under_way.pop(0), its, show)
        return stopped if self._left else None

    def _cut(self, symbols: Sequence[str]) -> _Batch:
        """Cut the windows of what is not finished yet."""
        began = time.perf_counter()
        windows, failures = self._survey.windows(symbols)
        inputs = {symbol: self._inputs(window) for symbol, window in windows.items()}
        finished = [s for s, window in windows.items() if self._is_finished(s, window.asset_class, inputs[s])]
        for symbol in finished:
            del windows[symbol]
        self._spent("reading", began)
        return _Batch(symbols, windows, inputs, failures, finished)

    def _keep(self, batch: _Batch, told: Told, show: Progress) -> None:
        """Serve what the members made of a batch, write it, and remember what there is to tell of it."""
        config, windows = self._config, batch.windows
        began = time.perf_counter()
        served = self._server.serve(self._taught, windows, told.forecasts, self._lessons)
        self._spent("serving", began)
        if served.trouble:
            # Rows without what others have of the past would count as finished.
            self._journal.give_up(served.trouble)
        failures = [*batch.failures, *told.failures, *served.failures]
        made = {(f.symbol, f.model): f for f in served.forecasts}
        if self._subject.explain:
            # Last, so that nothing else can depend on it.
            before, total = len(self._survey.symbols) - self._left, len(self._survey.symbols)

            def further(stage: str, count: int, of: int) -> None:
                show(stage, before + count, total)

            explained, failed = explain_members(self._members, windows, told.forecasts, config.batch, further)
            made |= {(f.symbol, f.model): f.only(config.quantiles, config.horizon) for f in explained}
            failures += failed
        place = {symbol: i for i, symbol in enumerate(windows)}
        order = {name: i for i, name in enumerate(config.model_names)}
        forecasts = sorted(made.values(), key=lambda f: (place[f.symbol], order[f.model]))

        for failure in failures:
            log.info("%s", failure.reason, extra={"run_id": self._id, **asdict(failure)})
        self._failures += failures
        self._resumed += batch.finished
        self._retried += told.retried
        for name, seconds in told.seconds.items():
            self._took[name] = self._took.get(name, 0.0) + seconds
        self._forecasts += [replace(f, samples=None) for f in forecasts]
        # A slice would keep the whole window.
        self._windows |= {f.symbol: deepcopy(windows[f.symbol].last(1)) for f in forecasts}
        self._left -= len(batch.symbols)
        self._require()
        rows = [row for f in forecasts for row in prediction_rows(f, windows[f.symbol], self._version(f, windows))]
        for forecast in forecasts:
            self._plugins.notify("after_forecast", run=self._subject, forecast=forecast)
        began = time.perf_counter()
        show("storing", 0, 1)
        if rows:
            told_so_far = {"symbols": len(self._subject.symbols), "left": self._left}
            self._journal.write(rows, self._work(batch, forecasts, failures), self._lesson_rows(), told_so_far)
            self._written = True
        if self._journal.trouble:
            # What was not to be had is not waited for again.
            self._taught = replace(self._taught, coverage={})
        self._spent("storing", began)
        log.info(
            "%d of %d symbols left",
            self._left,
            len(self._subject.symbols),
            extra={"run_id": self._id, "rows": len(rows), "took": told.seconds},
        )

    def _version(self, forecast: Forecast, windows: Mapping[str, Window]) -> str:
        return self._versions[forecast.model][windows[forecast.symbol].asset_class]

    def _inputs(self, window: Window) -> str:
        """Return a digest of all that the numbers of a symbol depend on, but for its models."""
        learned = {name: its.digest for name, its in self._taught.learned.items()}
        return digest([fingerprint(window), learned, self._taught.combines, self._subject.explain], 64)

    def _work(
        self, batch: _Batch, forecasts: Sequence[Forecast], failures: Sequence[Failure]
    ) -> list[dict[str, Any]]:
        """Return the ledger's rows: what is done with a batch, and what failed of it."""
        made = {(f.symbol, f.model) for f in forecasts}
        why = {(f.symbol, f.model): f.reason for f in failures}
        cutoff, freq = as_datetime(self._survey.cutoff), self._config.freq
        return [
            {
                "symbol": symbol,
                "timeframe": freq,
                "as_of": cutoff,
                "model_name": model,
                "model_version": versions[window.asset_class],
                "inputs": batch.inputs[symbol],
                "state": "done" if (symbol, model) in made else "failed",
                "reason": None if (symbol, model) in made else why.get((symbol, model)),
            }
            for symbol, window in batch.windows.items()
            for model, versions in self._versions.items()
        ]

    def _worked(self) -> dict[tuple[str, str, str], str]:
        """Return the inputs of what is done as of the cutoff, by symbol, model and version."""
        if self._store is None:
            return {}
        try:
            rows = self._store.worked(as_datetime(self._survey.cutoff), timeframe=self._config.freq)
        except StoreError as error:
            log.warning("nothing can be resumed: %s", error)
            return {}
        done = [row for row in rows if row["state"] == "done"]
        return {(r["symbol"], r["model_name"], r["model_version"]): r["inputs"] for r in done}

    def _is_finished(self, symbol: str, asset_class: str, inputs: str) -> bool:
        models = {name: versions[asset_class] for name, versions in self._versions.items()}
        # A member that cannot be built has no version: another time it may have.
        if not self._finished or not models.keys() >= set(self._config.member_names):
            return False
        return all(self._finished.get((symbol, *model)) == inputs for model in models.items())

    def _lesson_rows(self) -> list[Row]:
        """Return what was learned and is not kept yet."""
        return [
            learned_row(model, self._config.freq, its.options, its.until, its.state)
            for model, its in self._taught.learned.items()
            if its.state is not None and not its.kept
        ]

    def _require(self) -> None:
        """Raise DataError where too few symbols are forecast, or are left to be."""
        config, asked = self._config, len(self._subject.symbols)
        hoped = len(self._windows) + len(self._resumed) + self._left
        if hoped < max(config.min_symbols * asked, 1):
            written = "what was stored stays" if self._written else "nothing was written"
            raise DataError(
                f"{hoped} of {asked} symbols could be forecast, min_symbols is {config.min_symbols:g}; "
                f"{written}{listed(self._failures)}"
            )

    def _spent(self, stage: str, began: float) -> None:
        self._took[stage] = self._took.get(stage, 0.0) + time.perf_counter() - began

    def _where(self) -> dict[str, Any]:
        """Return where the results are."""
        journal, store = self._journal, self._store
        return {
            "store": "" if store is None or journal.trouble else store.display_url,
            "stored": journal.stored,
            "spooled": "" if journal.spooled is None else str(journal.spooled),
            "spooled_rows": journal.spooled_rows,
            "trouble": journal.trouble,
        }

    def _report(self, content: Mapping[str, Any]) -> RunReport:
        return RunReport(
            run_id=run_id(content),
            manifest=content,
            cutoff=self._survey.cutoff,
            symbols=self._subject.symbols,
            forecasts=tuple(self._forecasts),
            windows=MappingProxyType(self._windows),
            versions=self._versions,
            data=self._survey.reports,
            failures=tuple(self._failures),
            weights=MappingProxyType(self._config.weights),
            learned=self._taught.learned,
            resumed=tuple(self._resumed),
            retried=self._retried,
            took=MappingProxyType(self._took),
            seconds=(datetime.now(UTC) - self._subject.started_at).total_seconds(),
        )

    def _drifts(self, report: RunReport) -> tuple[Departure, ...]:
        """Watch for drift; the forecasts are stored by now, and nothing of this may harm them."""
        if self._store is None or self._journal.trouble or not self._journal.stored:
            return ()
        try:
            cutoff = as_datetime(report.cutoff)
            return tuple(watch_drift(self._config, self._plugins, self._store, cutoff, report.run_id))
        except (Exception, SystemExit) as error:
            log.warning("drift was not looked for: %s", reason(error))
            return ()


@dataclass(frozen=True, slots=True)
class _Batch:
    """Symbols that are forecast together."""

    symbols: Sequence[str]
    windows: dict[str, Window]
    """Of those that are neither finished nor failed."""
    inputs: Mapping[str, str]
    """By symbol, a digest of what its numbers depend on."""
    failures: Sequence[Failure]
    finished: Sequence[str]


def _versions(
    members: Sequence[Member], server: Server, asset_classes: Collection[str]
) -> dict[str, dict[str, str]]:
    """Return model → asset class → version, for members, ensemble and calibrated forecast."""
    classes = sorted(asset_classes)
    versions = {m.name: {c: m.version(c) for c in classes} for m in members}
    return {**versions, **server.versions(versions)}
