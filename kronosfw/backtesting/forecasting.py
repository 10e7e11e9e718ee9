"""The members' part of a backtest, in this process or in others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ..config import Config
from ..interfaces import ForecasterConfig
from ..members import Member, run_member
from ..reading import Failure
from ..secrets import remember
from ..types import Checkpoint, Forecast, Window


@dataclass(frozen=True)
class Told:
    """What the members made of some windows."""

    forecasts: list[Forecast]
    failures: list[Failure]
    seconds: dict[str, float]
    """By member, how long it took."""


Work = Callable[[Sequence[Window]], Told]


@dataclass(frozen=True)
class Recipe:
    """All that it takes to build a member again in another process, with the weights that were chosen here."""

    forecaster: ForecasterConfig
    name: str
    options: str
    context: int
    checkpoints: dict[str, Checkpoint | None]
    unusable: dict[str, str]

    @classmethod
    def of(cls, member: Member, config: Config) -> Recipe:
        options = dict(zip(config.member_names, config.forecasters, strict=True))[member.name]
        return cls(
            options, member.name, member.options, member.context, dict(member.checkpoints), dict(member.unusable)
        )

    def member(self) -> Member:
        """Build the member; raises whatever its forecaster raises."""
        forecaster = self.forecaster.build()
        paths = {name: its.path for name, its in self.checkpoints.items() if its is not None}
        switched = {path: forecaster.with_checkpoint(path) for path in set(paths.values())}  # type: ignore[attr-defined]
        by_class = {name: switched[path] for name, path in paths.items()}
        return Member(self.name, forecaster, self.options, self.context, self.checkpoints, by_class, self.unusable)


def worker_here(members: Sequence[Member], levels: Sequence[float], batch: int) -> Work:
    """Return what forecasts with members that are built already."""
    return partial(_forecast, members, levels, batch)


def worker_there(recipes: Sequence[Recipe], levels: Sequence[float], batch: int) -> Work:
    """Return what forecasts with members that are built here and now; their secrets are kept here, too."""
    for recipe in recipes:
        remember(recipe.forecaster)
    return partial(_forecast, [recipe.member() for recipe in recipes], levels, batch)


def _forecast(members: Sequence[Member], levels: Sequence[float], batch: int, windows: Sequence[Window]) -> Told:
    """Return what each member makes of the windows; those that fail are set apart."""
    told = Told([], [], {})
    for member in members:
        began = time.perf_counter()
        found, failed = run_member(member, windows, levels, batch, lambda *_: None)
        told.seconds[member.name] = time.perf_counter() - began
        told.forecasts.extend(found)
        told.failures.extend(failed)
    return told
