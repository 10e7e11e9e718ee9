"""The ensemble of a run: built, taught by the past, and combining what members there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .config import Config
from .interfaces import Ensembler
from .isolation import NEVER_ISOLATED, isolate, reason
from .manifest import digest
from .members import check_forecast, options_version
from .plugins import Plugins
from .reading import Failure
from .types import Forecast, Window

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Ensemble:
    """The configured ensembler. One that fails as a whole is set apart: the members still serve."""

    name: str
    ensembler: Ensembler
    options: str
    """Release and digest of its options."""
    member_levels: tuple[float, ...]
    """Quantile levels that it needs of the members."""

    def version(self, members: Sequence[str]) -> str:
        """Return what has to be equal for the numbers to be: its own options and the members' versions."""
        return f"{self.options}.{digest(sorted(members))}"

    def combine(
        self,
        windows: Mapping[str, Window],
        forecasts: Sequence[Forecast],
        levels: Sequence[float],
        past: Callable[[], pd.DataFrame],
    ) -> tuple[str, list[Forecast], list[Failure]]:
        """Combine the members of each symbol that has any; ``past`` gives what an ensembler learns from.

        Returns a digest of that past, the forecasts and what failed.
        """
        learned = ""
        try:
            if self.ensembler.learns:
                frame = past()
                learned = _fingerprint(frame)
                self.ensembler.fit(frame)
        except NEVER_ISOLATED:
            raise
        except (Exception, SystemExit) as error:
            return learned, [], [Failure("", "ensemble", reason(error), self.name)]
        members: dict[str, list[Forecast]] = {}
        for forecast in forecasts:
            members.setdefault(forecast.symbol, []).append(forecast)
        symbols = list(members)

        def call(chunk: Sequence[str]) -> list[Forecast]:
            combined = [self.ensembler.combine(windows[s], members[s], levels) for s in chunk]
            return [
                replace(check_forecast(f, windows[s], levels), model=self.name)
                for f, s in zip(combined, chunk, strict=True)
            ]

        combined, errors = isolate(symbols, call)
        failures = [Failure(symbols[i], "ensemble", reason(errors[i]), self.name) for i in sorted(errors)]
        return learned, [combined[i] for i in sorted(combined)], failures


def _fingerprint(past: pd.DataFrame) -> str:
    """Return a digest of predictions and what came of them, whoever wrote them and when."""
    import pandas as pd

    told = past.drop(columns=["run_id", "created_at", "scored_at"]).astype({"quantiles": str, "event_context": str})
    return digest(pd.util.hash_pandas_object(told, index=False).tolist(), 16)


def build_ensemble(config: Config, plugins: Plugins) -> tuple[Ensemble | None, list[Failure]]:
    """Build the configured ensembler, if any; one that cannot be built is set apart."""
    options = config.ensembler
    if options is None:
        return None, []
    try:
        ensembler = options.build()
        levels = tuple(sorted({float(level) for level in ensembler.member_levels(config.quantiles)}))
        if not set(config.quantiles) <= set(levels):
            raise ValueError("asks the members for other quantile levels than it is asked for")
        return Ensemble(options.name, ensembler, options_version(options, plugins), levels), []
    except NEVER_ISOLATED:
        raise
    except (Exception, SystemExit) as error:
        return None, [Failure("", "ensemble", reason(error), options.name)]
