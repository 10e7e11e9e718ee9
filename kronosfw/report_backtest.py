"""What a person or a program is shown of a backtest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from .backtesting import BacktestReport
from .config import Config
from .report import Terminal, minute, print_failures, print_weights, weights_as_json
from .report_scoreboard import print_scoreboard, scoreboard_as_json
from .rows import as_datetime


def print_backtest(
    report: BacktestReport,
    config: Config,
    console: Console | None = None,
    by: Sequence[str] = ("asset_class", "bucket", "event"),
) -> None:
    """Print the models side by side, what to know before believing it, and where the forecasts are.

    ``by`` names what groups are shown of (``scoreboard.GROUPS``).
    """
    console = console or Terminal()
    counts = sorted(set(report.origins.values()))
    each = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    symbols = f"[bold]{len(report.origins)}[/] symbol{'s' * (len(report.origins) > 1)}"
    console.print(
        f"{symbols}, [bold]{each}[/] origin{'s' * (counts[-1] > 1)} each from {minute(report.first)} to "
        f"{minute(report.last)} UTC, {config.horizon} bars of {config.freq} ahead",
        highlight=False,
    )
    print_scoreboard(report.board, report.seconds, console, by=("all", *by))
    if report.rare:
        console.print(
            f"not compared, for they made too few forecasts: {escape(', '.join(report.rare))}", highlight=False
        )
    for model, why in report.seen.items():
        console.print(f"[yellow]no evidence?[/] {escape(model)}: {escape(why)}", soft_wrap=True, highlight=False)
    print_failures(report.failures, console)
    print_weights(report.weights, console)
    console.print(
        f"\nbacktest {report.run_id[:8]}{', gone on with' if report.resumed else ''}, in "
        f"[bold]{escape(report.store)}[/], {report.wall_seconds:.1f} s",
        soft_wrap=True,
        highlight=False,
    )


def backtest_as_json(report: BacktestReport) -> dict[str, Any]:
    """Return a backtest's results as plain values."""
    return {
        "run_id": report.run_id,
        "first_origin": as_datetime(report.first).isoformat(),
        "last_origin": as_datetime(report.last).isoformat(),
        "origins": dict(report.origins),
        "scores": scoreboard_as_json(report.board),
        "seconds": dict(report.seconds),
        "no_evidence": dict(report.seen),
        "not_compared": report.rare,
        "failures": [asdict(f) for f in report.failures],
        "weights": weights_as_json(report.weights),
        "store": report.store,
        "exit_code": report.exit_code,
    }
