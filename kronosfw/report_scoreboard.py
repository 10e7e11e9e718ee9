"""What a person or a program is shown of a scoreboard."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from .checkpoints.verdicts import plain
from .report import Terminal, plain_table
from .scoreboard import Estimate, Line, Scoreboard
from .types import ENVELOPE

NOMINAL = ENVELOPE[-1] - ENVELOPE[0]
"""Share of outcomes that should lie within p10 and p90."""

_NAME = 24
_NONE = "–"
_LOW, _HIGH = "↓", "↑"
Column = tuple[str, list[str]]
"""A heading and a cell for each row."""


def print_scoreboard(
    board: Scoreboard,
    seconds: Mapping[str, float] | None = None,
    console: Console | None = None,
    by: Sequence[str] = ("all", "asset_class", "bucket", "event"),
) -> None:
    """Print the models side by side: on all predictions in full, then loss and coverage of the other groups.

    ``seconds`` is how long each model ran; ``by`` names what the groups shown are of.
    """
    console = console or Terminal()
    if not board.lines:
        console.print(f"The models share no scored prediction: nothing to compare, {board.left_out:,} left out.")
        return
    whole = [line for line in board.lines if line.by == "all"]
    left_out = f"; {board.left_out:,} that some did not make are left out" if board.left_out else ""
    console.print(
        f"[bold]{len(whole)}[/] models on the same [bold]{whole[0].rows:,}[/] predictions of "
        f"[bold]{whole[0].days:,}[/] day{'s' * (whole[0].days > 1)}{left_out}",
        highlight=False,
    )
    names = [line.model for line in whole]
    if "all" in by:
        _print_tables(_in_full(whole, board.reference, seconds), names, console)
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in board.lines:
        if line.by in by and line.by != "all":
            groups.setdefault((line.by, line.group), []).append(line)
    if groups:
        for title, cell in (("Loss", _loss), (f"Coverage of {NOMINAL:.0%}", _coverage)):
            console.print(f"\n[bold]{title}[/] by group", highlight=False)
            _print_tables(_grid(groups, cell), [*names, "days"], console)
    console.print()
    console.print(Text(_legend(board.reference, bool(groups)), "dim"))


def scoreboard_as_json(board: Scoreboard, seconds: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Return a scoreboard as plain values; figures that are not finite are None."""
    content: dict[str, Any] = plain(
        {
            "reference": board.reference,
            "left_out": board.left_out,
            "lines": [asdict(line) for line in board.lines],
            "curves": board.curves,
            "seconds": seconds,
        }
    )
    return content


def _in_full(lines: Sequence[Line], reference: str, seconds: Mapping[str, float] | None) -> list[Column]:
    """Return all there is to say of the models."""
    differences = (
        "reference" if line.model == reference else _interval(line.difference, _signed) for line in lines
    )
    columns = [
        ("loss", [_interval(line.loss, _number) for line in lines]),
        ("difference", list(differences)),
        ("p", [_p_value(line.p_value) for line in lines]),
        ("in set", [_NONE if line.in_set is None else "✓" if line.in_set else "" for line in lines]),
        (f"coverage of {NOMINAL:.0%}", [_interval(line.coverage, _percent, "%") for line in lines]),
        ("width", [_percent(line.width, "%") for line in lines]),
        ("crossed", [str(line.crossings) for line in lines]),
        ("error", [_number(line.error) for line in lines]),
        ("direction", [_interval(line.direction, _percent, "%") for line in lines]),
        ("Sharpe", [_interval(line.sharpe, _ratio) for line in lines]),
    ]
    if seconds is not None:
        ran = [seconds.get(line.model) for line in lines]
        columns.append(("ran", [_NONE if s is None else f"{s:,.1f} s" for s in ran]))
    return columns


def _grid(groups: Mapping[tuple[str, str], Sequence[Line]], cell: Callable[[Line], str]) -> list[Column]:
    """Return a column for each group, with its days below."""
    return [
        (f"step {group}" if by == "bucket" else group, [*map(cell, lines), f"{lines[0].days:,} "])
        for (by, group), lines in groups.items()
    ]


def _print_tables(columns: Sequence[Column], rows: Sequence[str], console: Console) -> None:
    """Print columns side by side as far as there is room, and go on below; each table names the rows."""
    first = min(max(map(len, rows)), _NAME) + 2
    for some in _fitting(columns, console.width - first):
        table = plain_table()
        table.add_column("model", no_wrap=True, max_width=_NAME)
        for name, _ in some:
            table.add_column(Text(name), justify="right", no_wrap=True)
        for row, cells in zip(rows, zip(*(cells for _, cells in some), strict=True), strict=True):
            table.add_row(*map(Text, (row, *cells)))
        console.print()
        console.print(table)


def _fitting(columns: Sequence[Column], room: int) -> Iterator[list[Column]]:
    """Yield the columns in groups that fit into the room, one at least."""
    some: list[Column] = []
    left = room
    for name, cells in columns:
        width = max(map(len, (name, *cells))) + 2
        if some and width > left:
            yield some
            some, left = [], room
        some.append((name, cells))
        left -= width
    yield some


def _loss(line: Line) -> str:
    return _number(line.loss.value) + ("" if line.difference is None else _mark(line.difference, 0.0))


def _coverage(line: Line) -> str:
    return _percent(line.coverage.value, "%") + _mark(line.coverage, NOMINAL)


def _mark(estimate: Estimate, against: float) -> str:
    """Return on which side of a figure the whole interval lies, if on one."""
    if estimate.high < against:
        return _LOW
    return _HIGH if estimate.low > against else " "


def _interval(estimate: Estimate | None, shown: Callable[[float], str], unit: str = "") -> str:
    if estimate is None:
        return _NONE
    ends = f" [{shown(estimate.low)}, {shown(estimate.high)}]" if math.isfinite(estimate.low) else ""
    return shown(estimate.value) + unit + ends


def _number(value: float, form: str = ".3f") -> str:
    """Show a figure without the 0 before its point."""
    if not math.isfinite(value):
        return _NONE
    return f"{value:{form}}".replace("-", "−").replace("0.", ".", 1 if abs(value) < 1 else 0)


def _p_value(value: float | None) -> str:
    if value is None:
        return _NONE
    return "<.001" if value < 0.0005 else _number(value)


def _signed(value: float) -> str:
    return _number(value, "+.3f")


def _ratio(value: float) -> str:
    return _number(value, ".1f")


def _percent(value: float, unit: str = "") -> str:
    return f"{100 * value:.1f}{unit}"


def _legend(reference: str, groups: bool) -> str:
    text = (
        "loss: 2 × pinball of the log return over the mean |log return|; difference: from "
        f"{reference}; brackets: 95 % intervals by days; in set: may be the best, at 10 %; "
        "error: over that of no change; Sharpe: a toy strategy after costs"
    )
    if groups:
        text += f"; {_LOW} {_HIGH}: below or above {reference} or {NOMINAL:.0%} by more than chance"
    return text
