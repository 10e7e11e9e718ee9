"""What a person or a program is shown of a retraining."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape

from .alerts import verdict_as_json
from .report import Terminal, print_failures
from .report_verdict import checks_table
from .retraining import Outcome, RetrainReport

_COLOURS = {"promoted": "green", "rejected": "red", "failed": "red", "busy": "yellow"}


def print_retraining(report: RetrainReport, console: Console | None = None) -> None:
    """Print what became of each asset class, and every figure that it rests on."""
    console = console or Terminal()
    for text in report.damaged:
        console.print(f"[red]{escape(text)}[/]", highlight=False)
    for outcome in report.classes:
        _print_outcome(outcome, console)
    console.print(f"\n[dim]{report.seconds:.1f} s[/]", highlight=False)


def retraining_as_json(report: RetrainReport) -> dict[str, Any]:
    """Return what came of a retraining as plain values."""
    return {
        "now": report.now.isoformat(),
        "exit_code": report.exit_code,
        "damaged": report.damaged,
        "classes": [_outcome_as_json(outcome) for outcome in report.classes],
    }


def _print_outcome(outcome: Outcome, console: Console) -> None:
    colour = _COLOURS.get(outcome.ending)
    ending = f"[{colour}]{outcome.ending}[/]" if colour else outcome.ending
    version = f"  {escape(outcome.version)}" if outcome.version else ""
    console.print(f"[bold]{escape(outcome.asset_class)}[/]  {ending}{version}", highlight=False)
    for text in outcome.trouble:
        console.print(f"  [red]{escape(text)}[/]", highlight=False)
    if outcome.watched:
        what = "confirmed" if outcome.watched.accepted else "rolled back"
        console.print(f"  the promotion before was {what}", highlight=False)
        console.print(checks_table(outcome.watched))
    if outcome.verdict:
        console.print(checks_table(outcome.verdict))
    if outcome.ending != "promoted":
        console.print(f"  {escape(outcome.reason)}", highlight=False)
    if outcome.training or outcome.rolled_back:
        console.print(f"  serves: {escape(outcome.serves or 'the weights of the model itself')}", highlight=False)
    print_failures(outcome.failures, console)
    if outcome.deleted:
        console.print(f"  [dim]deleted: {escape(', '.join(outcome.deleted))}[/]", highlight=False)


def _outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "asset_class": outcome.asset_class,
        "ending": outcome.ending,
        "reason": outcome.reason,
        "slot": outcome.slot and outcome.slot.isoformat(),
        "version": outcome.version,
        "serves": outcome.serves,
        "verdict": outcome.verdict and verdict_as_json(outcome.verdict),
        "watched": outcome.watched and verdict_as_json(outcome.watched),
        "trouble": outcome.trouble,
        "failures": [asdict(failure) for failure in outcome.failures],
        "deleted": outcome.deleted,
        "seconds": round(outcome.seconds, 3),
    }
