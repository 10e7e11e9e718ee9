"""The hooks of kronosfw: seven that register components, five that observe, one that adds commands.

A plugin is a module (or object) whose functions carry ``@hookimpl`` and bear the names below; it declares
itself as an entry point in the group ``kronosfw.v1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

from .interfaces import (
    CheckpointPolicyConfig,
    EncoderConfig,
    EnsemblerConfig,
    FeedConfig,
    ForecasterConfig,
    NotifierConfig,
    TrainerConfig,
)

if TYPE_CHECKING:
    import click

    from .runs import Run, RunReport
    from .types import Alert, Forecast

hookspec = pluggy.HookspecMarker("kronosfw")
hookimpl = pluggy.HookimplMarker("kronosfw")


@hookspec
def register_feeds() -> Sequence[type[FeedConfig]]:
    """Return the classes of the feeds this plugin provides."""
    raise NotImplementedError


@hookspec
def register_encoders() -> Sequence[type[EncoderConfig]]:
    """Return the classes of the event encoders this plugin provides."""
    raise NotImplementedError


@hookspec
def register_forecasters() -> Sequence[type[ForecasterConfig]]:
    """Return the classes of the forecasters this plugin provides."""
    raise NotImplementedError


@hookspec
def register_trainers() -> Sequence[type[TrainerConfig]]:
    """Return the classes of the trainers this plugin provides."""
    raise NotImplementedError


@hookspec
def register_ensemblers() -> Sequence[type[EnsemblerConfig]]:
    """Return the classes of the ensemblers this plugin provides."""
    raise NotImplementedError


@hookspec
def register_checkpoint_policies() -> Sequence[type[CheckpointPolicyConfig]]:
    """Return the classes of the checkpoint policies this plugin provides."""
    raise NotImplementedError


@hookspec
def register_notifiers() -> Sequence[type[NotifierConfig]]:
    """Return the classes of the notifiers this plugin provides."""
    raise NotImplementedError


@hookspec
def before_run(run: Run) -> None:
    """Observe a run before anything is read."""


@hookspec
def after_forecast(run: Run, forecast: Forecast) -> None:
    """Observe each forecast of a run, members' and ensemble's, before they are stored."""


@hookspec
def after_run(run: Run, report: RunReport) -> None:
    """Observe the end of a run that got as far as a report."""


@hookspec
def on_run_error(run: Run, error: BaseException) -> None:
    """Observe a run that ended without a report."""


@hookspec
def on_alert(alert: Alert) -> None:
    """Observe what a person should know of checkpoints: one promoted, rejected, rolled back or found damaged."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to the command line: ``cli.add_command(...)``."""
