"""Teaching the configured ensembler on demand, rather than before the first run that finds it stale."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .config import Config
from .ensemble import build_ensemble
from .errors import ConfigError, PluginError
from .isolation import required
from .lessons import Stored
from .plugins import Plugins
from .reading import as_moment
from .store import Store, learned_row


@dataclass(frozen=True)
class FitReport:
    """What an ensembler has learned."""

    model: str
    cutoff: datetime
    outcomes: dict[str, int]
    """By asset class, how many predictions (symbol, cutoff, step) had an outcome to learn from."""
    told: tuple[str, ...]
    """What it has to say of it."""
    kept: bool
    """Whether the runs to come find it in the store, or learn the same by themselves."""
    store: str


def fit_ensemble(config: Config, plugins: Plugins, cutoff: datetime) -> FitReport:
    """Teach the ensembler anew from all scored by a cutoff, and keep what it learned for the runs to come.

    Raises ConfigError where there is nothing to teach, PluginError where it cannot learn, and StoreError.
    """
    ensemble, failures = build_ensemble(config.ensembler, config, plugins)
    if failures:
        raise PluginError(f"{failures[0].model}: {failures[0].reason}")
    if ensemble is None or not ensemble.ensembler.learns:
        raise ConfigError(
            "there is nothing to fit: the configuration's `ensembler` does not learn, or there is none"
        )
    with Store.of(config) as store:
        # As of the last outcome, so that a run as of the bar that brought it finds what was learned.
        cutoff = store.last_outcome(cutoff, timeframe=config.freq) or cutoff
        lessons = Stored(store, cutoff, config.freq, config.horizon)
        learned = required(lambda: ensemble.learn(lessons, as_moment(cutoff), anew=True), ensemble.name)
        assert learned is not None
        assert learned.past is not None
        if learned.state is not None:
            row = learned_row(ensemble.name, config.freq, learned.options, learned.until, learned.state)
            store.learn([row], instead=True)
        members = learned.past[learned.past["model_name"] != ensemble.name]
        outcomes = members.drop_duplicates(["symbol", "as_of", "step"]).groupby("asset_class").size()
        return FitReport(
            model=ensemble.name,
            cutoff=cutoff,
            outcomes={str(name): int(n) for name, n in outcomes.items()},
            told=tuple(getattr(ensemble.ensembler, "summary", ())),
            kept=learned.state is not None,
            store=store.display_url,
        )
