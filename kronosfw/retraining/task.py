"""What is to be retrained, and how, from a configuration that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..config import Config
from ..errors import ConfigError, did_you_mean
from ..interfaces import CheckpointPolicy, ForecasterConfig, TrainerConfig
from ..isolation import required
from ..learning import follows
from ..plugins import Plugins
from ..reading import Progress


@dataclass(frozen=True)
class Wishes:
    """What the caller asks for."""

    if_due: bool = False
    """Retrain only where the policy says that it is time."""
    dry_run: bool = False
    """Change nothing."""
    force: bool = False
    """Promote what the policy rejects by its scores."""


@dataclass(frozen=True)
class Task:
    """All that the retraining of a class needs."""

    config: Config
    plugins: Plugins
    root: Path
    trainer: TrainerConfig
    forecaster: ForecasterConfig
    policy: CheckpointPolicy
    now: datetime
    """UTC."""
    wishes: Wishes
    progress: Progress

    @classmethod
    def of(cls, config: Config, plugins: Plugins, now: datetime, wishes: Wishes, progress: Progress) -> Task:
        """Check the configuration; raises ConfigError where it does not say what to retrain."""
        if follows():
            raise ConfigError(
                "`retrain` is one process; for several devices, launch `kronosfw train` and activate its version"
            )
        trainer, checkpoints, root = config.trainer, config.checkpoints, config.checkpoint_root
        if trainer is None or checkpoints is None or root is None:
            lines = {
                "trainer: {type: …}": trainer,
                "checkpoints: {type: rolling}": checkpoints,
                "checkpoint_root: checkpoints": root,
            }
            lacking = " and ".join(f"`{line}`" for line, given in lines.items() if given is None)
            raise ConfigError(f"there is nothing to retrain without {lacking} in the configuration")
        served = next((f for f in config.forecasters if f.type == trainer.forecaster), None)
        if served is None:
            raise ConfigError(
                f"trainer {trainer.type} makes weights of '{trainer.forecaster}': name it in `forecasters`"
            )
        policy = required(checkpoints.build, f"checkpoint policy {checkpoints.type}")
        moment = now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)
        return cls(config, plugins, root, trainer, served, policy, moment, wishes, progress)

    def symbols(self, asset_class: str) -> list[str]:
        """Return the symbols of a class that are forecast."""
        universe = self.config.universe
        return [s for s in self.config.forecast_symbols if universe[s].asset_class == asset_class]

    def classes(self, asked: Sequence[str] | None) -> list[str]:
        """Return the asset classes to retrain, in the file's order; raises ConfigError for one there is not."""
        universe = self.config.universe
        every = list(dict.fromkeys(universe[symbol].asset_class for symbol in self.config.forecast_symbols))
        for name in asked or ():
            if name not in every:
                raise ConfigError(
                    f"no symbol to forecast is of the asset class '{name}'{did_you_mean(name, every)}"
                )
        return [name for name in every if not asked or name in asked]
