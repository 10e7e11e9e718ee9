"""The run: feed → windows → encoders → forecasters → ensembler → store → report."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import numpy as np

from .checks import DataReport
from .config import Config
from .drift import Departure, watch_drift
from .encoding import build_encoders, leaders_of, lookback_of
from .errors import DONE, PARTIAL, ConfigError, DataError, StoreError
from .explain import explain_members
from .freq import is_daily, minutes
from .interfaces import Weights
from .isolation import isolate, reason
from .lessons import Learned, Stored
from .manifest import fingerprint, manifest, run_id
from .members import Member, build_members, longest_context, run_member
from .plugins import Plugins
from .reading import Failure, Market, Progress, listed, read, read_facts
from .rows import as_datetime, prediction_rows
from .serving import Server, build_server
from .store import Store, learned_row, spool
from .types import Forecast, Moment, Window
from .windows import Cutter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What was asked for; observers get it."""

    config: Config
    symbols: tuple[str, ...]
    as_of: datetime | str
    started_at: datetime
    explain: bool = False


@dataclass(frozen=True)
class RunReport:
    """What came of a run."""

    run_id: str
    manifest: Mapping[str, Any]
    """All that the numbers depend on, as plain values."""
    cutoff: Moment
    symbols: tuple[str, ...]
    """The symbols asked for."""
    forecasts: tuple[Forecast, ...]
    """Members' and ensemble's, by symbol in the order asked for."""
    windows: Mapping[str, Window]
    versions: Mapping[str, Mapping[str, str]]
    """Model → asset class → version."""
    data: Mapping[str, DataReport]
    failures: tuple[Failure, ...]
    weights: Mapping[str, Weights] = field(default_factory=dict)
    """Licence and training cut-off by model, for those that come with weights."""
    learned: Mapping[str, Learned] = field(default_factory=dict)
    """By model, what an ensemble or a calibration has learned for this cutoff."""
    drifts: tuple[Departure, ...] = ()
    """Members that have parted company."""
    store: str = ""
    """Where the results are, without its password."""
    stored: int = 0
    """Rows that the run added or changed in the store."""
    spooled: str = ""
    """The file that holds the results where the store could not be used."""
    trouble: str = ""
    """Why the store could not be used."""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """The exit code that the run ends with."""
        if self.spooled:
            return StoreError.exit_code
        return PARTIAL if self.failures else DONE

    @property
    def served(self) -> tuple[str, ...]:
        """The symbols that have a forecast."""
        have = {f.symbol for f in self.forecasts}
        return tuple(s for s in self.symbols if s in have)

    def as_json(self) -> dict[str, Any]:
        """Return what went wrong and what was found in the data, as plain values."""
        return {
            "symbols": len(self.symbols),
            "served": len(self.served),
            "failures": [asdict(f) for f in self.failures],
            "data": [r.as_json() for r in self.data.values() if r.findings],
        }


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""


def run(
    config: Config,
    plugins: Plugins,
    *,
    as_of: datetime | str | None = None,
    symbols: Sequence[str] | None = None,
    explain: bool = False,
    progress: Progress = silent,
) -> RunReport:
    """Forecast the symbols as of a cutoff and store the results, with ``explain`` what moved them as well.

    Raises ConfigError for a user's mistake, DataError where fewer than ``min_symbols`` of the symbols could be
    forecast (nothing is written then), StoreError where the store cannot be used and Interrupted if
    ``progress`` does. Running again with the same inputs changes nothing.
    """
    if explain and not config.encoders:
        raise ConfigError("there is nothing to explain without events: list `encoders:`, or leave out --explain")
    subject = Run(config, _chosen(config, symbols), as_of or config.as_of, datetime.now(UTC), explain)
    plugins.notify("before_run", run=subject)
    try:
        report = _run(subject, plugins, progress)
    except BaseException as error:
        plugins.notify("on_run_error", run=subject, error=error)
        raise
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


def _run(subject: Run, plugins: Plugins, progress: Progress) -> RunReport:
    store, trouble = _open(subject.config)
    with store or nullcontext():
        report = _forecast(subject, plugins, store, progress)
        if len(report.served) < max(subject.config.min_symbols * len(report.symbols), 1):
            raise DataError(
                f"{len(report.served)} of {len(report.symbols)} symbols could be forecast, min_symbols is "
                f"{subject.config.min_symbols:g}; nothing was written{listed(report.failures)}"
            )
        rows = list(_rows(report))
        for forecast in report.forecasts:
            plugins.notify("after_forecast", run=subject, forecast=forecast)
        progress("storing", 0, 1)
        report = _keep(report, rows, subject, store, trouble)
        if store is not None and report.stored:
            report = replace(report, drifts=_drifts(report, subject.config, plugins, store))
    return replace(report, seconds=(datetime.now(UTC) - subject.started_at).total_seconds())


def _forecast(subject: Run, plugins: Plugins, store: Store | None, progress: Progress) -> RunReport:
    """Do all but storing."""
    config = subject.config
    members, failures = build_members(config, plugins, subject.symbols)
    server, failed = build_server(config.ensembler, config, plugins)
    failures += failed
    market, windows, failed = _cut(subject, members, progress)
    failures += failed
    log.info("%d windows as of %s UTC", len(windows), market.cutoff)

    forecasts: list[Forecast] = []
    for member in members:
        found, failed = run_member(member, list(windows.values()), server.member_levels, config.batch, progress)
        log.info("%s %s: %d forecasts, %d failures", member.name, member.options, len(found), len(failed))
        forecasts += found
        failures += failed
    lessons = Stored(store, as_datetime(market.cutoff), config.freq, config.horizon)
    served = server.serve(windows, forecasts, lessons, market.cutoff)
    failures += served.failures
    made = {(f.symbol, f.model): f for f in served.forecasts}
    if subject.explain:
        # Last, so that nothing else can depend on it.
        explained, failed = explain_members(members, windows, forecasts, config.batch, progress)
        made |= {(f.symbol, f.model): f.only(config.quantiles, config.horizon) for f in explained}
        failures += failed

    versions = _versions(members, server, {config.universe[symbol].asset_class for symbol in subject.symbols})
    learned = {name: its.digest for name, its in served.learned.items()}
    content = manifest(
        config,
        plugins,
        market.cutoff,
        symbols=list(windows),
        data=fingerprint(list(windows.values())),
        models=versions,
        learned=learned,
    )
    place = {symbol: i for i, symbol in enumerate(subject.symbols)}
    order = {name: i for i, name in enumerate(config.model_names)}
    return RunReport(
        run_id=run_id(content),
        manifest=content,
        cutoff=market.cutoff,
        symbols=subject.symbols,
        forecasts=tuple(sorted(made.values(), key=lambda f: (place[f.symbol], order[f.model]))),
        windows=MappingProxyType(windows),
        versions=versions,
        data=MappingProxyType(market.reports),
        failures=tuple(failures),
        weights=MappingProxyType(config.weights),
        learned=served.learned,
    )


def _open(config: Config) -> tuple[Store | None, str]:
    """Open the store; where it cannot be used the run goes on, and its results are spooled."""
    try:
        return Store(config.store.get_secret_value()), ""
    except StoreError as error:
        return None, str(error)


def _cut(
    subject: Run, members: Sequence[Member], progress: Progress
) -> tuple[Market, dict[str, Window], list[Failure]]:
    """Read the market and cut each symbol's window; symbols that fail are set apart."""
    config = subject.config
    encoders = build_encoders(config)
    leaders = leaders_of(encoders)
    longest = longest_context(members, config)
    symbols = list(dict.fromkeys([*subject.symbols, *leaders]))
    needed = max(longest, config.checks.min_history)
    # In the time of so many bars of one market another may have this many times as many.
    most = 2 if is_daily(config.freq) else 6
    further = dict.fromkeys(leaders, most * needed + lookback_of(encoders))
    market = read(config, symbols, subject.as_of, progress, last=needed, further=further)
    market.require_history()
    market.require_any()
    # The facts reach back as far for every symbol, whichever others are read beside it.
    reach = np.timedelta64(needed * minutes(config.freq) * most, "m")
    facts = read_facts(config, symbols, market.cutoff - reach, market.cutoff, market.calendar) if encoders else []
    cutter = Cutter.of(config, longest, encoders, facts, market.bars)
    ready = [s for s in subject.symbols if s in market.bars]

    def cut(chunk: Sequence[str]) -> list[Window]:
        return [
            cutter.window(
                market.bars[s],
                market.cutoff,
                asset_class=config.universe[s].asset_class,
                market=config.universe[s].market,
            )
            for s in chunk
        ]

    windows, errors = isolate(ready, cut)
    failures = market.failures + [Failure(ready[i], "window", reason(errors[i])) for i in sorted(errors)]
    return market, {ready[i]: windows[i] for i in sorted(windows)}, failures


def _versions(
    members: Sequence[Member], server: Server, asset_classes: Collection[str]
) -> dict[str, dict[str, str]]:
    """Return model → asset class → version, for members, ensemble and calibrated forecast."""
    classes = sorted(asset_classes)
    versions = {m.name: {c: m.version(c) for c in classes} for m in members}
    return {**versions, **server.versions(versions)}


def _rows(report: RunReport) -> Iterator[dict[str, Any]]:
    for forecast in report.forecasts:
        window = report.windows[forecast.symbol]
        yield from prediction_rows(forecast, window, report.versions[forecast.model][window.asset_class])


def _drifts(report: RunReport, config: Config, plugins: Plugins, store: Store) -> tuple[Departure, ...]:
    """Watch for drift; the forecasts are stored by now, and nothing of this may harm them."""
    try:
        return tuple(watch_drift(config, plugins, store, as_datetime(report.cutoff), report.run_id))
    except (Exception, SystemExit) as error:
        log.warning("drift was not looked for: %s", reason(error))
        return ()


def _learned(report: RunReport, freq: str) -> list[Mapping[str, Any]]:
    """Return what was learned and is not kept yet, as rows."""
    return [
        learned_row(model, freq, its.options, its.until, its.state)
        for model, its in report.learned.items()
        if its.state is not None and not its.kept
    ]


def _keep(
    report: RunReport, rows: Sequence[Mapping[str, Any]], subject: Run, store: Store | None, trouble: str
) -> RunReport:
    """Store the results, or spool them for replay where the store cannot be used."""
    row = {
        "id": report.run_id,
        "started_at": subject.started_at,
        "finished_at": datetime.now(UTC),
        "state": "partial" if report.failures else "done",
        "manifest": report.manifest,
        "report": report.as_json(),
    }
    if store is not None:
        try:
            stored = store.record(row, rows, learned=_learned(report, subject.config.freq))
            return replace(report, stored=stored, store=store.display_url)
        except StoreError as error:
            trouble = str(error)
    try:
        return replace(report, spooled=str(spool(subject.config.spool, row, rows)), trouble=trouble)
    except StoreError as error:
        raise StoreError(f"{trouble}; and the results could not be spooled: {error}") from None
