"""The members of a run: forecasters built, given the weights that serve, and run batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoints import serve
from .config import Config
from .interfaces import CheckpointPolicy, Component, Forecaster, ForecasterConfig, type_name
from .isolation import NEVER_ISOLATED, isolate, reason, required
from .manifest import digest
from .plugins import Plugins
from .reading import Failure, Progress
from .types import Checkpoint, Forecast, Window


def options_version(component: Component, plugins: Plugins, *more: Any) -> str:
    """Return the release that provides a component and a digest of its options and of what else shapes it."""
    options = component.model_dump(mode="json", exclude={"name", "context", "timeout"})
    return f"{plugins.release(type(component))}+{digest([options, *more])}"


@dataclass(frozen=True)
class Member:
    """A forecaster of the run, with the weights that serve each asset class."""

    name: str
    forecaster: Forecaster
    options: str
    """Release and digest of options and context, without the weights."""
    context: int
    """Bars of context it is given at most."""
    checkpoints: dict[str, Checkpoint | None] = field(default_factory=dict)
    """By asset class; None for the forecaster's own weights."""
    switched: dict[str, Forecaster] = field(default_factory=dict)
    """By asset class, the forecaster with the weights of its checkpoint."""
    unusable: dict[str, str] = field(default_factory=dict)
    """By asset class, why there are no weights that could serve it."""

    def version(self, asset_class: str) -> str:
        """Return release, options and checkpoint: what has to be equal for the numbers to be."""
        if asset_class in self.unusable:
            return f"{self.options}@unusable"
        checkpoint = self.checkpoints.get(asset_class)
        if checkpoint is None:
            return self.options
        return f"{self.options}@{checkpoint.asset_class or 'base'}/{checkpoint.version}"


def build_members(config: Config, plugins: Plugins, symbols: Collection[str]) -> tuple[list[Member], list[Failure]]:
    """Build every forecaster and load the weights that serve the symbols' asset classes.

    A forecaster that cannot be built is set apart, and so is a damaged checkpoint, in whose place another serves.
    Raises ConfigError for a user's mistake.
    """
    options = config.checkpoints
    policy = required(options.build, f"checkpoint policy {options.type}") if options else None
    classes = sorted({config.universe[symbol].asset_class for symbol in symbols})
    members: list[Member] = []
    failures: list[Failure] = []
    for forecaster in config.forecasters:
        name = forecaster.name or forecaster.type
        try:
            member = _member(name, forecaster, config, plugins)
            if policy is not None and config.checkpoint_root and hasattr(member.forecaster, "with_checkpoint"):
                told = _switch(member, type_name(type(forecaster)), policy, config.checkpoint_root, classes)
                failures += [Failure("", "model", text, name) for text in told]
            members.append(member)
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


def _member(name: str, options: ForecasterConfig, config: Config, plugins: Plugins) -> Member:
    forecaster = options.build()
    context = options.context or config.context
    if forecaster.max_context is not None:
        context = min(context, forecaster.max_context)
    return Member(name, forecaster, options_version(options, plugins, context), context)


def _switch(
    member: Member, forecaster: str, policy: CheckpointPolicy, root: Path, classes: Sequence[str]
) -> list[str]:
    """Load the weights that serve each class, and return what a person has to know of it."""
    sound: dict[Path, Forecaster] = {}
    told: list[str] = []

    def load(path: Path) -> Forecaster:
        if path not in sound:
            found: Forecaster = member.forecaster.with_checkpoint(path)  # type: ignore[attr-defined]
            return found
        return sound[path]

    for name in classes:
        try:
            served = serve(policy, root, name, forecaster, load, sound.keys())
        except NEVER_ISOLATED:
            raise
        except (Exception, SystemExit) as error:
            member.unusable[name] = reason(error)
            continue
        member.checkpoints[name] = served.checkpoint
        if served.checkpoint is not None and served.weights is not None:
            member.switched[name] = sound[served.checkpoint.path] = served.weights
        told += served.told
    return told


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
        if window.asset_class in member.unusable:
            failures.append(Failure(window.symbol, stage, member.unusable[window.asset_class], member.name))
        else:
            groups.setdefault(member.version(window.asset_class), []).append(window)
    count = 0
    for group in groups.values():
        work = partial(call, member.switched.get(group[0].asset_class, member.forecaster))
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
