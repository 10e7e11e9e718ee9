"""Observers that keep a log of runs and alerts, and a command that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kronosfw.hookspec import hookimpl

if TYPE_CHECKING:
    from kronosfw.runs import Run, RunReport
    from kronosfw.types import Alert, Forecast

LOG = Path("runs.log")


def note(text: str) -> None:
    with LOG.open("a", encoding="utf-8") as log:
        log.write(f"{text}\n")


@hookimpl
def before_run(run: Run) -> None:
    note(f"run of {len(run.symbols)} symbols as of {run.as_of}")


@hookimpl
def after_forecast(run: Run, forecast: Forecast) -> None:
    low, high = forecast.at((0.1, 0.9))[-1]
    if high > 1.5 * low:
        note(f"wide: {forecast.symbol} by {forecast.model}, {low:g} to {high:g}")


@hookimpl
def after_run(run: Run, report: RunReport) -> None:
    note(f"exit code {report.exit_code}, {len(report.failures)} failures")


@hookimpl
def on_run_error(run: Run, error: BaseException) -> None:
    note(f"failed: {error}")


@hookimpl
def on_alert(alert: Alert) -> None:
    note(f"{alert.asset_class} {alert.kind}: {alert.text}")


@click.command("last-run")
def last_run() -> None:
    """Print the last line of the log of runs."""
    click.echo(LOG.read_text("utf-8").splitlines()[-1])


@hookimpl
def register_commands(cli: click.Group) -> None:
    cli.add_command(last_run)
