"""The table of what moved the forecasts: a row for each symbol and model, a column for each group of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from .types import Floats, Forecast, Window

if TYPE_CHECKING:
    from rich.console import Console

_NAME, _HEADER = 20, 14
"""Columns of the terminal at most for a symbol or a model, and for the name of a group."""


def print_moved(forecasts: Sequence[Forecast], windows: Mapping[str, Window], most: int, console: Console) -> None:
    """Print how far each group moved p50 and the width p90 − p10 at the last step; nothing where none is explained.

    At most ``most`` rows are shown. A model that no group moved gets none, but is named.
    """
    explained = [f for f in forecasts if "moved" in f.steps[-1]]
    shifts = {(f.symbol, f.model): _shifts(f.steps[-1]["moved"], windows[f.symbol]) for f in explained}
    moved = {model for (_, model), groups in shifts.items() if any(shift.any() for shift in groups.values())}
    rows = {key: groups for key, groups in shifts.items() if key[1] in moved}
    if rows:
        console.print(
            "\n[bold]What moved them[/] at the last step: p50 and width, in % of the last close\n",
            highlight=False,
        )
        console.print(_table(dict(list(rows.items())[:most]), len(moved) > 1, console.width))
    if len(rows) > most:
        console.print(f"… and {len(rows) - most} more in the store")
    if unmoved := {model: None for _, model in shifts if model not in moved}:
        console.print(
            f"\nNothing that the encoders tell moved {escape(', '.join(unmoved))}", highlight=False, soft_wrap=True
        )


def _shifts(moved: Mapping[str, Sequence[float]], window: Window) -> dict[str, Floats]:
    """Return each group's shift of p50 and of the width, in per cent of the last close ``[2]``."""
    close = abs(float(window.bars.close[-1]))
    return {group: np.array([mid, high - low]) / close * 100 for group, (low, mid, high) in moved.items()}


def _table(rows: Mapping[tuple[str, str], Mapping[str, Floats]], models: bool, width: int) -> Table:
    names = ["symbol", "model"] if models else ["symbol"]
    heads = [key[: len(names)] for key in rows]
    widths = [min(max(map(len, column)), _NAME) for column in zip(names, *heads, strict=True)]
    columns = _columns(list(rows.values()), width - sum(w + 2 for w in widths))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    for name, most in zip(names, widths, strict=True):
        table.add_column(name, no_wrap=True, max_width=most)
    for name, cells in columns:
        table.add_column(escape(name), justify="right", no_wrap=True, max_width=_room(name, cells))
    for head, *cells in zip(heads, *(cells for _, cells in columns), strict=True):
        table.add_row(f"[bold]{escape(head[0])}[/]", *map(escape, head[1:]), *cells)
    return table


def _columns(rows: Sequence[Mapping[str, Floats]], width: int) -> list[tuple[str, list[str]]]:
    """Return the sum and as many groups as there is room for, those that moved most first and the rest as one."""
    zeros = np.zeros((len(rows), 2))
    groups = dict.fromkeys(group for row in rows for group in row)
    each = {group: np.array([row.get(group, zeros[0]) for row in rows]) for group in groups}
    ranked = sorted(each, key=lambda group: (-np.abs(each[group]).sum(), group))
    for n in range(len(ranked), -1, -1):
        shown = [("all", ranked), *((group, [group]) for group in ranked[:n])]
        if n < len(ranked):
            shown.append(("others", ranked[n:]))
        columns = [(name, _cells(sum((each[group] for group in part), zeros))) for name, part in shown]
        if sum(_room(name, cells) + 2 for name, cells in columns) <= width:
            break
    return columns


def _room(name: str, cells: Sequence[str]) -> int:
    return max(len(cells[0]), min(len(name), _HEADER))


def _cells(values: Floats) -> list[str]:
    """Return both figures of each row ``[N, 2]``, each right-aligned among its own."""
    figures = [[f"{value:+z.2f}".replace("-", "−") for value in column] for column in values.T.tolist()]
    wide = [max(map(len, column)) for column in figures]
    return [" ".join(f.rjust(w) for f, w in zip(row, wide, strict=True)) for row in zip(*figures, strict=True)]
