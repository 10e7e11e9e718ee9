"""From a configuration to scored forecasts at every origin."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from ..config import Backtest, Config
from ..errors import ConfigError, DataError, Interrupted
from ..examples import at_midnight
from ..executing import executor_for
from ..manifest import manifest, market_fingerprint, run_id
from ..members import Member, build_members, longest_context
from ..plugins import Plugins
from ..reading import Failure, Progress, listed, not_later_than_now
from ..resampling import need_arch
from ..rows import as_datetime
from ..scoreboard import GROUPS, enough, scoreboard
from ..serving import Server, build_server
from ..store import Store
from ..types import Moment
from .course import Course
from .ledger import Ledger
from .origins import Origin, by_symbol, earliest, origins
from .report import BacktestReport
from .stage import Stage


def backtest(
    config: Config,
    plugins: Plugins,
    *,
    workers: int | None = None,
    by: Sequence[str] = GROUPS,
    progress: Progress = lambda *_: None,
) -> BacktestReport:
    """Forecast at every origin of the configuration's ``backtest``, score, store, and compare the models.

    ``by`` names what they are compared by besides all predictions (``scoreboard.GROUPS``).
    Members forecast in so many processes, unless given where the configuration's ``executor`` has them do it; no
    number depends on either. Begun again after it was stopped, by
    whatever, it goes on where it was and ends with the same rows. Raises ConfigError for a user's mistake,
    DataError where too few symbols can be used or no model, StoreError where the store cannot be used and
    Interrupted if ``progress`` does.
    """
    began = time.monotonic()
    options = config.backtest
    if options is None:
        raise ConfigError("the configuration has no `backtest`; give it a `start`, a date such as 2025-01-01")
    need_arch("a backtest")
    end = config.as_of if options.end is None else as_datetime(at_midnight(options.end))
    not_later_than_now(end)
    members, failures = build_members(config, plugins, config.forecast_symbols)
    if not members:
        raise DataError(f"no model can be used:{listed(failures)}")
    servers, failed = _servers(config, options, plugins)
    course = Course.laid(config, longest_context(members, config), earliest(config, options), end, progress)
    planned = _planned(config, options, course.until)
    compared = [origin for origin in planned if origin.cutoff >= at_midnight(options.start)]
    failures += [*failed, *course.market.failures]
    _require(config, course)
    versions = _versions(config, members, servers)
    content = manifest(
        config,
        plugins,
        course.until,
        symbols=list(course.market.bars),
        data=market_fingerprint(course.market.bars.values(), course.facts),
        models=versions,
        learned={},
    ) | {"backtest": options.model_dump(mode="json")}
    with Store.of(config) as store:
        found = store.runs(id=run_id(content))
        ledger = Ledger.resumed(found[0]) if found else Ledger(run_id(content), content, datetime.now(UTC))
        if not ledger.finished:
            ledger.seen = _seen(config, members, servers, planned[0].cutoff)
            ledger.throughout([*failures, *course.unscored])
            stage = Stage(config, options, store, course, servers, versions, ledger)
            try:
                stage.play(planned, members, executor_for(config, workers), progress)
            except Interrupted:
                raise Interrupted("stopped on a signal; the same command goes on after the origins done") from None
        progress("comparing", 0, 1)
        past = store.past(as_datetime(course.until), run_id=ledger.run_id)
        past = past[past["as_of"] >= as_datetime(at_midnight(options.start))]
        if past.empty:
            # What failed may have passed by the next time: that begins anew.
            store.record(Ledger(ledger.run_id, content, ledger.started_at).row(), [])
            raise DataError(f"nothing can be compared: no forecast could be scored{listed(ledger.all_failures)}")
        models, rare = enough(past, _models(config, servers))
        board = scoreboard(past, config.quantiles, config.horizon_buckets, models=models, by=by)
    return BacktestReport(
        run_id=ledger.run_id,
        first=compared[0].cutoff,
        last=compared[-1].cutoff,
        origins=by_symbol(compared),
        board=board,
        seconds=ledger.seconds,
        failures=tuple(ledger.all_failures),
        weights=config.weights,
        seen=ledger.seen,
        rare=rare,
        store=store.display_url,
        resumed=bool(found),
        wall_seconds=time.monotonic() - began,
    )


def _planned(config: Config, options: Backtest, until: Moment) -> list[Origin]:
    planned = origins(config, options, until)
    if not planned:
        raise ConfigError(
            f"the backtest has no origin: from {options.start} on there are not {config.horizon} complete bars of "
            f"{config.freq} by {str(until)[:16]}"
        )
    return planned


def _servers(config: Config, options: Backtest, plugins: Plugins) -> tuple[list[Server], list[Failure]]:
    """Return what the configuration serves, and what the further ensemblers make."""
    servers: list[Server] = []
    failures: list[Failure] = []
    for ensembler in (config.ensembler, *options.ensemblers):
        server, failed = build_server(ensembler, config, plugins)
        servers.append(server)
        failures += failed
    return servers, failures


def _require(config: Config, course: Course) -> None:
    """Raise DataError where too few symbols have bars."""
    usable = [symbol for symbol in config.forecast_symbols if symbol in course.market.bars]
    if len(usable) < max(config.min_symbols * len(config.forecast_symbols), 1):
        raise DataError(
            f"{len(usable)} of {len(config.forecast_symbols)} symbols can be used, min_symbols is "
            f"{config.min_symbols:g}{listed(course.market.failures)}"
        )


def _versions(config: Config, members: Sequence[Member], servers: Sequence[Server]) -> dict[str, Mapping[str, str]]:
    """Return model → asset class → version."""
    classes = sorted({config.universe[symbol].asset_class for symbol in config.forecast_symbols})
    by_member = {m.name: {c: m.version(c) for c in classes} for m in members}
    versions: dict[str, Mapping[str, str]] = {**by_member}
    for server in servers:
        versions |= server.versions(by_member)
    return versions


def _models(config: Config, servers: Sequence[Server]) -> list[str]:
    """Return the models of the backtest, members first."""
    names = list(config.member_names)
    for server in servers:
        names += [server.ensemble.name] if server.ensemble else []
        names += [server.calibrator.name] if server.calibrator else []
    return names


def _seen(config: Config, members: Sequence[Member], servers: Sequence[Server], first: Moment) -> dict[str, str]:
    """Return by model why its scores may be no evidence: weights may have learned from days that are forecast.

    ``first`` is the first origin, from which ensembles and calibration learn as well.
    """
    told = {}
    for name, weights in config.weights.items():
        try:
            trained = np.datetime64(weights.trained_until)
        except ValueError:
            told[name] = f"when the training of its weights ended is {weights.trained_until}"
        else:
            if trained > first:
                told[name] = f"its weights were trained until {weights.trained_until}, after the first origin"
    for member in members:
        for checkpoint in filter(None, member.checkpoints.values()):
            if checkpoint.trained_until is None or checkpoint.trained_until > first:
                until = "an unknown day" if checkpoint.trained_until is None else str(checkpoint.trained_until)[:10]
                told[member.name] = f"checkpoint {checkpoint.version} has learned until {until}"
    if told:
        for server in servers:
            made = [server.ensemble.name] if server.ensemble else []
            made += (
                [server.calibrator.name] if server.calibrator and (made or server.calibrator.model in told) else []
            )
            told |= dict.fromkeys(
                made, f"it is made of {', '.join(name for name in config.member_names if name in told)}"
            )
    return told
