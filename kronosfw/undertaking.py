"""A run under way: surveyed, then forecast, served and written batch by batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from .drift import Departure, watch_drift
from .errors import DataError, FeedDown, Interrupted, StoreError
from .executing import executor_for
from .explain import explain_members
from .forecasting import Told, Troupe
from .isolation import reason
from .journal import Journal
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
from .types import Forecast, Moment, Window

log = logging.getLogger(__name__)
_GOES_ON = "; `kronosfw run FILE --resume` goes on from there"


def about(subject: Run) -> str:
    """Return what runs have in common that forecast the same symbols in the same way, whatever the cutoff."""
    return digest([relevant(subject.config), sorted(subject.symbols)], 16)


class Undertaking:
    """A run under way, batch by batch."""

    def __init__(
        self, subject: Run, plugins: Plugins, store: Store | None, trouble: str, progress: Progress
    ) -> None:
        """Read what there is to forecast; ``trouble`` says why there is no store.

        Raises ConfigError for a user's mistake, and DataError where too few symbols can be forecast.
        """
        self._subject, self._config, self._plugins = subject, subject.config, plugins
        self._store, self._trouble, self._progress = store, trouble, progress
        self._forecasts: list[Forecast] = []
        self._windows: dict[str, Window] = {}
        self._resumed: list[str] = []
        self._took: dict[str, float] = {}
        self._lost = 0
        self._written = False
        self._deaf = False
        """Whether forecasts lack what the store could tell of the past, and are not finished therefore."""
        self._finished: Mapping[tuple[str, str, str], str] = {}
        """What need not be done again: the inputs by symbol, model and version."""
        config = subject.config
        self._members, self._failures = build_members(config, plugins, subject.symbols)
        self._server, failed = build_server(config.ensembler, config, plugins)
        context = longest_context(self._members, config)
        began = time.perf_counter()
        self._survey = Survey(config, subject.symbols, subject.as_of, context, progress)
        self._spent("reading", began)
        self._failures += [*failed, *self._survey.failures]
        self._left = len(self._survey.symbols) if self._members else 0
        """Symbols whose turn has not come."""
        self._require()

    @property
    def cutoff(self) -> Moment:
        """The moment as of which it forecasts."""
        return self._survey.cutoff

    def run(self, *, resume: bool) -> RunReport:
        """Forecast and store, with ``resume`` only what is not finished; raises as ``pipeline.run`` does."""
        subject, config = self._subject, self._config
        self._lessons = Stored(self._store, as_datetime(self.cutoff), config.freq, config.horizon)
        self._taught = self._server.learn(self._lessons, self.cutoff)
        self._failures += self._taught.failures
        classes = {config.universe[symbol].asset_class for symbol in subject.symbols}
        self._versions = _versions(self._members, self._server, classes)
        content = self._manifest()
        self._id = run_id(content)
        row = {"id": self._id, "started_at": subject.started_at, "manifest": content, "subject": about(subject)}
        self._journal = Journal(self._store, self._trouble, config.spool, row)
        told = {"run_id": self._id, "stage": "reading", "seconds": round(self._took["reading"], 3)}
        log.info("%d symbols as of %s UTC", len(self._survey.symbols), self.cutoff, extra=told)
        if resume:
            self._finished = self._worked()
        try:
            stopped = self._forecast()
        except FeedDown as error:
            raise FeedDown(f"{error}{_GOES_ON if self._written else ''}") from None
        except DataError:
            if self._written:
                self._journal.close("failed", self._report(content).as_json())
            raise
        report = self._report(content)
        if stopped is not None:
            done, asked = len(report.served), len(report.symbols)
            raise Interrupted(
                f"stopped on a signal when {done} of {asked} symbols were forecast{_GOES_ON}"
            ) from stopped
        self._journal.close("partial" if report.failures else "done", report.as_json())
        report = replace(report, **self._where(), drifts=self._drifts(report))
        return replace(report, seconds=(datetime.now(UTC) - subject.started_at).total_seconds())

    def _manifest(self) -> dict[str, Any]:
        return manifest(
            self._config,
            self._plugins,
            self.cutoff,
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
            self._deaf = True
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
        self._lost += told.lost
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
        if windows:
            told_so_far = {"symbols": len(self._subject.symbols), "left": self._left}
            work = [] if self._deaf else self._work(batch, forecasts, failures)
            self._journal.write(rows, work, self._lesson_rows(), told_so_far)
            self._written = True
        if self._journal.trouble and self._taught.coverage:
            # What was not to be had is not waited for again.
            self._deaf = True
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
        past = [learned, self._taught.combines, sorted(self._taught.coverage.items())]
        asked = [self._config.quantiles, self._subject.explain]
        return digest([fingerprint(window), past, asked], 64)

    def _work(
        self, batch: _Batch, forecasts: Sequence[Forecast], failures: Sequence[Failure]
    ) -> list[dict[str, Any]]:
        """Return the ledger's rows: what is done with a batch, and what failed of it."""
        made = {(f.symbol, f.model) for f in forecasts}
        why = {(f.symbol, f.model): f.reason for f in failures}
        cutoff, freq = as_datetime(self.cutoff), self._config.freq
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
            rows = self._store.worked(as_datetime(self.cutoff), timeframe=self._config.freq)
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
            run_id=self._id,
            manifest=content,
            cutoff=self.cutoff,
            symbols=self._subject.symbols,
            forecasts=tuple(self._forecasts),
            windows=MappingProxyType(self._windows),
            versions=self._versions,
            data=self._survey.reports,
            failures=tuple(self._failures),
            weights=MappingProxyType(self._config.weights),
            learned=self._taught.learned,
            resumed=tuple(self._resumed),
            lost=self._lost,
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
