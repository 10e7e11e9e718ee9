"""How a verdict is shown to a person."""

from __future__ import annotations

from typing import Literal

from rich.markup import escape
from rich.table import Table

from .checkpoints.verdicts import figures
from .report import plain_table
from .types import Verdict


def checks_table(verdict: Verdict) -> Table:
    """Return what a verdict rests on, a check in each row."""
    table = plain_table()
    for name in ("", "check", "value", "interval", "limit", "what was found"):
        justify: Literal["left", "right"] = "right" if name in ("value", "limit") else "left"
        table.add_column(name, justify=justify, no_wrap=name != "what was found")
    for check in verdict.checks:
        _, *shown = figures(check)
        mark = "[green]✓[/]" if check.passed else "[red]✗[/]"
        table.add_row(mark, escape(check.name), *shown, escape(check.text), style=None if check.passed else "red")
    return table
