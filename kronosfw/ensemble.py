"""The ensemble of a run: built, taught by the past, and combining what members there are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from .config import Config
from .errors import DamagedState, StoreError
from .interfaces import Ensembler, EnsemblerConfig
from .isolation import NEVER_ISOLATED, isolate, reason
from .lessons import Learned, Lessons
from .manifest import digest
from .members import check_forecast, options_version
from .plugins import Plugins
from .reading import Failure
from .rows import as_datetime
from .types import Forecast, Moment, Window

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Ensemble:
    """One ensembler. If it fails as a whole it is set apart: the members still serve."""

    name: str
    ensembler: Ensembler
    options: str
    """Release and digest of its options."""
    member_levels: tuple[float, ...]
    """Quantile levels that it needs of the members."""
    members: tuple[str, ...]
    """The models that it combines."""
    history: timedelta | None = None
    """How far back the outcomes lie that it learns from."""

    def version(self, members: Sequence[str]) -> str:
        """Return what has to be equal for the numbers to be: its own options and the members' versions."""
        return f"{self.options}.{digest(sorted(members))}"

    def learn(self, lessons: Lessons, cutoff: Moment, *, anew: bool = False) -> Learned | None:
        """Learn as of a cutoff, from where the state that was kept ends unless ``anew``; None if it learns nothing.

        Raises whatever the ensembler raises, and StoreError where there is no past to be had.
        """
        if not self.ensembler.learns:
            return None
        kept = None if anew else self._restored(lessons)
        since = None if self.history is None else as_datetime(cutoff) - self.history
        past = lessons.past([*self.members, self.name], since)
        self.ensembler.fit(past, cutoff)
        state = self.ensembler.state() if hasattr(self.ensembler, "state") else None
        return Learned(self.options, as_datetime(cutoff), state, state == kept, past)

    def _restored(self, lessons: Lessons) -> Mapping[str, Any] | None:
        """Hand back what was learned before; where that cannot be used, it is told and learned anew."""
        if not hasattr(self.ensembler, "restore"):
            return None
        try:
            found = lessons.learned(self.name, self.options)
            if found is not None:
                self.ensembler.restore(found[1])
        except DamagedState as error:
            log.warning("%s learns anew: %s", self.name, reason(error))
            return None
        except (StoreError, *NEVER_ISOLATED):
            raise
        except (Exception, SystemExit) as error:
            log.warning("%s learns anew: %s", self.name, reason(error))
            return None
        return found and found[1]

    def combine(
        self, windows: Mapping[str, Window], forecasts: Sequence[Forecast], levels: Sequence[float]
    ) -> tuple[list[Forecast], list[Failure]]:
        """Combine the members of each symbol that has any; return the forecasts and what failed."""
        members: dict[str, list[Forecast]] = {}
        for forecast in forecasts:
            if forecast.model in self.members:
                members.setdefault(forecast.symbol, []).append(forecast.only(self.member_levels))
        symbols = list(members)

        def call(chunk: Sequence[str]) -> list[Forecast]:
            combined = [self.ensembler.combine(windows[s], members[s], levels) for s in chunk]
            return [
                self._signed(check_forecast(f, windows[s], levels), members[s])
                for f, s in zip(combined, chunk, strict=True)
            ]

        combined, errors = isolate(symbols, call)
        failures = [Failure(symbols[i], "ensemble", reason(errors[i]), self.name) for i in sorted(errors)]
        return [combined[i] for i in sorted(combined)], failures

    def _signed(self, forecast: Forecast, members: Sequence[Forecast]) -> Forecast:
        """Return the forecast under the ensemble's name, and with the members that it had to do without."""
        there = {member.model for member in members}
        missing = [name for name in self.members if name not in there]
        context = {**forecast.event_context, **({"missing": missing} if missing else {})}
        return replace(forecast, model=self.name, event_context=context)


def build_ensemble(
    options: EnsemblerConfig | None, config: Config, plugins: Plugins
) -> tuple[Ensemble | None, list[Failure]]:
    """Build an ensembler of the configuration's members, if any; one that cannot be built is set apart."""
    if options is None:
        return None, []
    try:
        ensembler = options.build()
        levels = tuple(sorted({float(level) for level in ensembler.member_levels(config.quantiles)}))
        if not set(config.quantiles) <= set(levels):
            raise ValueError("asks the members for other quantile levels than it is asked for")
        version = options_version(options, plugins)
        history = None if options.history_days is None else timedelta(days=options.history_days)
        return Ensemble(options.name, ensembler, version, levels, tuple(config.member_names), history), []
    except NEVER_ISOLATED:
        raise
    except (Exception, SystemExit) as error:
        return None, [Failure("", "ensemble", reason(error), options.name)]
