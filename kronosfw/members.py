"""The members of a run: forecasters built, given the weights that serve, and run batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from .checkpoints import discover
from .config import Config
from .interfaces import CheckpointPolicy, Component, Forecaster, ForecasterConfig, type_name
from .isolation import NEVER_ISOLATED, isolate, reason, required
from .manifest import digest
from .plugins import Plugins
from .reading import Failure, Progress
from .types import Checkpoint, Forecast, Window


def options_version(component: Component, plugins: Plugins, *more: Any) -> str:
    """Return the release that provides a component and a digest of its options and of what else shapes it."""
    options = component.model_dump(mode="json", exclude={"name", "context"})
    return f"{plugins.release(type(component))}+{digest([options, *more])}"


@dataclass(frozen=True)
class Member:
    """A forecaster of the run, with the checkpoint that serves each asset class."""

    name: str
    forecaster: Forecaster
    options: str
    """Release and digest of options and context, without the weights."""
    context: int
    """Bars of context it is given at most."""
    checkpoints: dict[str, Checkpoint | None] = field(default_factory=dict)

    def version(self, asset_class: str) -> str:
        """Return release, options and checkpoint: what has to be equal for the numbers to be."""
        checkpoint = self.checkpoints.get(asset_class)
        if checkpoint is None:
            return self.options
        return f"{self.options}@{checkpoint.asset_class or 'base'}/{checkpoint.version}"


def build_members(config: Config, plugins: Plugins) -> tuple[list[Member], list[Failure]]:
    """Build every forecaster; one that cannot be built is set apart. Raises ConfigError for a user's mistake."""
    options = config.checkpoints
    policy = required(options.build, f"checkpoint policy {options.type}") if options else None
    found = discover(config.checkpoint_root) if config.checkpoint_root else []
    members: list[Member] = []
    failures: list[Failure] = []
    for forecaster in config.forecasters:
        name = forecaster.name or forecaster.type
        try:
            members.append(_member(name, forecaster, config, plugins, policy, found))
        except NEVER_ISOLATED:
            raise
        except (Exception, SystemExit) as error:
            failures.append(Failure("", "model", reason(error), name))
    if config.encoders:
        # What encoders see reaches as far back as the longest context.
        seen = [longest_context(members, config), *(encoder.model_dump(mode="json") for encoder in config.encoders)]
        members = [replace(m, options=f"{m.options}.{digest(seen)}") for m in members]
    return members, failures


def longest_context(members: Sequence[Member], config: Config) -> int:
    """Return the bars that a window holds for the member with the longest context."""
    return max((member.context for member in members), default=config.context)


def _member(
    name: str,
    options: ForecasterConfig,
    config: Config,
    plugins: Plugins,
    policy: CheckpointPolicy | None,
    found: Sequence[Checkpoint],
) -> Member:
    forecaster = options.build()
    context = options.context or config.context
    if forecaster.max_context is not None:
        context = min(context, forecaster.max_context)
    serving: dict[str, Checkpoint | None] = {}
    if policy is not None and hasattr(forecaster, "with_checkpoint"):
        mine = [c for c in found if c.forecaster == type_name(type(options))]
        classes = {instrument.asset_class for instrument in config.universe.values()}
        serving = {c: _select(policy, c, mine) for c in sorted(classes)}
    return Member(name, forecaster, options_version(options, plugins, context), context, serving)


def _select(policy: CheckpointPolicy, asset_class: str, mine: Sequence[Checkpoint]) -> Checkpoint | None:
    chosen = policy.select(asset_class, mine)
    if chosen is not None and chosen not in [c for c in mine if c.asset_class in (asset_class, None)]:
        raise ValueError(f"the checkpoint policy chose {chosen!r}, which is not a checkpoint for {asset_class}")
    return chosen


def run_member(
    member: Member, windows: Sequence[Window], levels: Sequence[float], batch: int, progress: Progress
) -> tuple[list[Forecast], list[Failure]]:
    """Forecast the windows; those that fail are set apart."""

    def call(forecaster: Forecaster, part: Sequence[Window]) -> list[Forecast]:
        return [replace(f, model=member.name) for f in forecast_all(forecaster, part, levels)]

    def done(count: int) -> None:
        progress(member.name, count, len(windows))

    return in_batches(member, windows, batch, call, "model", done)


def in_batches(
    member: Member,
    windows: Sequence[Window],
    batch: int,
    call: Callable[[Forecaster, Sequence[Window]], Sequence[Forecast]],
    stage: str,
    done: Callable[[int], None],
) -> tuple[list[Forecast], list[Failure]]:
    """Call with the member's forecaster and its windows, batch by batch, grouped by the weights that serve them.

    Windows are cut to the member's context. Those that fail are set apart, at ``stage``; ``done`` is told after
    each batch how many windows have had their turn.
    """
    forecasts: list[Forecast] = []
    failures: list[Failure] = []
    groups: dict[str, list[Window]] = {}
    for window in windows:
        groups.setdefault(member.version(window.asset_class), []).append(window)
    count = 0
    for group in groups.values():
        try:
            work = partial(call, _with_weights(member, group[0].asset_class))
        except NEVER_ISOLATED:
            raise
        except (Exception, SystemExit) as error:
            failures += [Failure(w.symbol, stage, reason(error), member.name) for w in group]
            continue
        for start in range(0, len(group), batch):
            chunk = [w.last(member.context) for w in group[start : start + batch]]
            results, errors = isolate(chunk, work)
            forecasts += [results[i] for i in sorted(results)]
            failures += [Failure(chunk[i].symbol, stage, reason(errors[i]), member.name) for i in sorted(errors)]
            count += len(chunk)
            done(count)
    return forecasts, failures


def forecast_all(forecaster: Forecaster, windows: Sequence[Window], levels: Sequence[float]) -> list[Forecast]:
    """Return the forecaster's forecast for each window; raises ValueError where they are none of these windows."""
    found = forecaster.forecast(windows, levels)
    if len(found) != len(windows):
        raise ValueError(f"returned {len(found)} forecasts for {len(windows)} windows")
    return [check_forecast(f, w, levels) for f, w in zip(found, windows, strict=True)]


def _with_weights(member: Member, asset_class: str) -> Forecaster:
    checkpoint = member.checkpoints.get(asset_class)
    if checkpoint is None:
        return member.forecaster
    switched: Forecaster = member.forecaster.with_checkpoint(checkpoint.path)  # type: ignore[attr-defined]
    return switched


def check_forecast(forecast: Forecast, window: Window, levels: Sequence[float]) -> Forecast:
    """Return the forecast if it is one of this window at these levels; raises ValueError if it is not."""
    if not isinstance(forecast, Forecast):
        raise ValueError(f"returned a {type(forecast).__name__} where a Forecast was expected")
    same = (forecast.symbol, forecast.cutoff) == (window.symbol, window.cutoff)
    if not same or not np.array_equal(forecast.time, window.future.time):
        raise ValueError("returned a forecast of another window")
    if forecast.levels != tuple(levels) or "close" not in forecast.columns:
        raise ValueError("returned other quantile levels than asked for, or none of the close")
    return forecast
