"""From the members' forecasts of one cutoff to what is served: combined, calibrated, and with a confidence.

A run does this once, a backtest at each of its cutoffs and for each of its ensemblers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .calibration import Calibrator, build_calibrator
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
class Served:
    """The forecasts of one cutoff: the members', the ensemble's and the calibrated ones."""

    forecasts: tuple[Forecast, ...]
    failures: tuple[Failure, ...]
    learned: Mapping[str, Learned] = field(default_factory=dict)
    """By model, what was learned for it."""


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
        """Return model → asset class → version of what it makes, from that of the members."""
        found: dict[str, dict[str, str]] = {}
        if self.ensemble:
            classes = next(iter(members.values()), {})
            found[self.ensemble.name] = {
                c: self.ensemble.version([v[c] for v in members.values()]) for c in classes
            }
        if self.calibrator:
            raw = {**members, **found}.get(self.calibrator.model, {})
            found[self.calibrator.name] = {c: self.calibrator.version(version) for c, version in raw.items()}
        return found

    def serve(
        self, windows: Mapping[str, Window], members: Sequence[Forecast], lessons: Lessons, cutoff: Moment
    ) -> Served:
        """Combine and calibrate the members' forecasts; what fails is set apart, and the members still serve."""
        made = list(members)
        failures: list[Failure] = []
        learned: dict[str, Learned] = {}
        if self.ensemble:
            try:
                lesson = self.ensemble.learn(lessons, cutoff)
            except NEVER_ISOLATED:
                raise
            except (Exception, SystemExit) as error:
                failures.append(Failure("", "ensemble", reason(error), self.ensemble.name))
            else:
                learned |= {self.ensemble.name: lesson} if lesson else {}
                combined, failed = self.ensemble.combine(windows, members, self.levels)
                made += combined
                failures += failed
        made = [forecast.only(self.levels, self.horizon) for forecast in made]
        try:
            if self.calibrator:
                known, lesson = self.calibrator.learn(lessons)
                learned |= {self.calibrator.name: lesson} if lesson else {}
                made += self.calibrator.calibrate(known, made, windows)
        except StoreError as error:
            failures.append(Failure("", "calibration", str(error), self.served))
        return Served(tuple(self._weighed(made, windows, lessons)), tuple(failures), learned)

    def _weighed(self, made: Sequence[Forecast], windows: Mapping[str, Window], lessons: Lessons) -> list[Forecast]:
        """Return the forecasts, those that are served with a confidence where there is a past to tell."""
        mine = [forecast for forecast in made if forecast.model == self.served]
        others = [forecast for forecast in made if forecast.model != self.served]
        try:
            envelopes, coverage = lessons.envelopes(self.served), lessons.coverage(self.served)
        except StoreError as error:
            log.warning("no confidence: %s", error)
            return [*others, *mine]
        return others + with_confidence(mine, windows, envelopes, coverage)


def build_server(
    ensembler: EnsemblerConfig | None, config: Config, plugins: Plugins
) -> tuple[Server, list[Failure]]:
    """Build what serves with an ensembler or without; one that cannot be built is set apart."""
    ensemble, failures = build_ensemble(ensembler, config, plugins)
    raw = ensembler.name if ensembler else config.raw_name
    calibrator = build_calibrator(raw, config)
    served = calibrator.name if calibrator else raw
    return Server(ensemble, calibrator, served, config.quantiles, config.horizon), failures
