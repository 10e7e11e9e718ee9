"""The components that come with kronosfw, registered as any plugin's are."""

from __future__ import annotations

from collections.abc import Sequence

from ..hookspec import hookimpl
from ..interfaces import (
    CheckpointPolicyConfig,
    EncoderConfig,
    EnsemblerConfig,
    FeedConfig,
    ForecasterConfig,
    NotifierConfig,
)
from .encoders import Leaders, Macro20
from .ensemblers import Greedy, LinearPool, Mean, Median, Online
from .feeds import CsvFeed, ParquetFeed, SqlFeed
from .forecasters import Bootstrap, Drift, Garch, Har, RandomWalk, SeasonalNaive, StatsForecast
from .notifiers import Command, Log, Webhook
from .policies import Latest, Rolling
from .simulated import SimulatedFeed


@hookimpl
def register_feeds() -> Sequence[type[FeedConfig]]:
    return (CsvFeed, ParquetFeed, SqlFeed, SimulatedFeed)


@hookimpl
def register_encoders() -> Sequence[type[EncoderConfig]]:
    return (Macro20, Leaders)


@hookimpl
def register_forecasters() -> Sequence[type[ForecasterConfig]]:
    return (RandomWalk, SeasonalNaive, Drift, Bootstrap, Har, Garch, StatsForecast)


@hookimpl
def register_ensemblers() -> Sequence[type[EnsemblerConfig]]:
    return (Mean, Median, LinearPool, Greedy, Online)


@hookimpl
def register_checkpoint_policies() -> Sequence[type[CheckpointPolicyConfig]]:
    return (Latest, Rolling)


@hookimpl
def register_notifiers() -> Sequence[type[NotifierConfig]]:
    return (Log, Webhook, Command)
