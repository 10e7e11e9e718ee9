"""From the members' forecasts of one cutoff to what is served: combined, calibrated, and with a confidence.

A run learns once and serves batch by batch; a backtest does both at each of its cutoffs, for each ensembler.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .calibration import Calibrator, Conformal, build_calibrator
from .confidence import with_confidence
from .config import Config
from .ensemble import Ensemble, build_ensemble
from .errors import StoreError
from .interfaces import EnsemblerConfig
from .isolation import NEVER_ISOLATED, reason
from .lessons import Learned, Lessons
from .plugins import Plugins
from .reading import Failure
from .types import Forecast, Moment, Window

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Taught:
    """What is known as of one cutoff before anything is forecast."""

    learned: Mapping[str, Learned]
    """By model, what was learned."""
    failures: tuple[Failure, ...]
    combines: bool
    """Whether there is an ensemble that could learn."""
    conformal: Conformal | None
    """By how much envelopes are moved; None where they are not."""
    coverage: Mapping[str, tuple[float, int]]
    """By asset class, the share of outcomes that the served model covered, and of how many."""


@dataclass(frozen=True, eq=False)
class Served:
    """The forecasts of some windows of one cutoff: the members', the ensemble's and the calibrated ones."""

    forecasts: tuple[Forecast, ...]
    failures: tuple[Failure, ...]
    trouble: str = ""
    """Why there is no confidence, where the past of these symbols could not be read."""


@dataclass(frozen=True, eq=False)
class Server:
    """An ensemble or none, and what calibrates it or else the last member."""

    ensemble: Ensemble | None
    calibrator: Calibrator | None
    served: str
    """Name of the model that is served."""
    levels: tuple[float, ...]
    horizon: int

    @property
    def member_levels(self) -> tuple[float, ...]:
        """Quantile levels that are needed of the members."""
        return self.ensemble.member_levels if self.ensemble else self.levels

    @property
    def made(self) -> str | None:
        """Name of the first model that it makes, if it makes any."""
        if self.ensemble:
            return self.ensemble.name
        return self.calibrator.name if self.calibrator else None

    def versions(self, members: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
        """Return model → asset class → version of what it can make, from that of the members that there are."""
        found: dict[str, dict[str, str]] = {}
        if self.ensemble:
            classes = next(iter(members.values()), {})
            found[self.ensemble.name] = {
                c: self.ensemble.version([v[c] for v in members.values()]) for c in classes
            }
        raw = {**members, **found}.get(self.calibrator.model) if self.calibrator else None
        if self.calibrator and raw is not None:
            found[self.calibrator.name] = {c: self.calibrator.version(version) for c, version in raw.items()}
        return found

    def learn(self, lessons: Lessons, cutoff: Moment) -> Taught:
        """Learn as of a cutoff; what fails is set apart, and the members still serve."""
        failures: list[Failure] = []
        learned: dict[str, Learned] = {}
        combines, conformal = self.ensemble is not None, None
        if self.ensemble:
            try:
                lesson = self.ensemble.learn(lessons, cutoff)
                learned |= {self.ensemble.name: lesson} if lesson else {}
            except NEVER_ISOLATED:
                raise
            except (Exception, SystemExit) as error:
                failures.append(Failure("", "ensemble", reason(error), self.ensemble.name))
                combines = False
        if self.calibrator:
            try:
                conformal, lesson = self.calibrator.learn(lessons)
                learned |= {self.calibrator.name: lesson} if lesson else {}
            except StoreError as error:
                failures.append(Failure("", "calibration", str(error), self.served))
        try:
            coverage = lessons.coverage(self.served)
        except StoreError as error:
            log.warning("no confidence: %s", error)
            coverage = {}
        return Taught(learned, tuple(failures), combines, conformal, coverage)

    def serve(
        self, taught: Taught, windows: Mapping[str, Window], members: Sequence[Forecast], lessons: Lessons
    ) -> Served:
        """Combine and calibrate the members' forecasts; what fails is set apart, and the members still serve."""
        made = list(members)
        failures: list[Failure] = []
        if self.ensemble and taught.combines:
            combined, failed = self.ensemble.combine(windows, members, self.levels)
            made += combined
            failures += failed
        made = [forecast.only(self.levels, self.horizon) for forecast in made]
        if self.calibrator and taught.conformal is not None:
            made += self.calibrator.calibrate(taught.conformal, made, windows)
        mine = [forecast for forecast in made if forecast.model == self.served]
        others = [forecast for forecast in made if forecast.model != self.served]
        trouble = ""
        if mine and taught.coverage:
            try:
                envelopes = lessons.envelopes(self.served, [forecast.symbol for forecast in mine])
                mine = with_confidence(mine, windows, envelopes, taught.coverage)
            except StoreError as error:
                trouble = str(error)
        return Served((*others, *mine), tuple(failures), trouble)


def build_server(
    ensembler: EnsemblerConfig | None, config: Config, plugins: Plugins
) -> tuple[Server, list[Failure]]:
    """Build what serves with an ensembler or without; one that cannot be built is set apart."""
    ensemble, failures = build_ensemble(ensembler, config, plugins)
    raw = ensembler.name if ensembler else config.raw_name
    calibrator = build_calibrator(raw, config)
    served = calibrator.name if calibrator else raw
    return Server(ensemble, calibrator, served, config.quantiles, config.horizon), failures
