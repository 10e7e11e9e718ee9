"""The same story for the terminal, in short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..checks import DataReport
from ..report import Terminal, plain_table, print_failures, print_findings, print_weights
from ..report_scoreboard import print_scoreboard
from . import words
from .content import Board, Content, Outlook

_MOST, _NAME = 30, 20
"""Rows of a table at most, and columns of the terminal for a name."""


def print_report(content: Content, console: Console | None = None) -> None:
    """Print forecasts, what is out of the ordinary about them, scores, failures and licences."""
    console = console or Terminal()
    if content.run:
        console.print(
            f"[bold]{words.plural(len(content.outlooks), 'symbol')}[/], "
            f"{content.horizon} bars of {content.freq} ahead, "
            f"as of [bold]{words.minute(content.run.cutoff)}[/], model [bold]{escape(content.served)}[/], "
            f"run {escape(content.run.id)}\n",
            highlight=False,
        )
        console.print(_outlooks(content.outlooks[:_MOST], content))
        if len(content.outlooks) > _MOST:
            console.print(f"… and {len(content.outlooks) - _MOST} more symbols; the page shows all")
    else:
        console.print(f"No forecast as of {words.minute(content.as_of)}: kronosfw run {escape(content.file)}")
    for line in [*words.warnings(content), *_notes(content.outlooks)]:
        _say(line, console)
    for board in content.boards:
        _print_board(board, console)
    if content.run:
        reports = {symbol: DataReport(symbol) for symbol, _ in content.run.findings}
        for symbol, finding in content.run.findings:
            reports[symbol].findings.append(finding)
        print_findings(reports, console)
        print_failures(content.run.failures, console)
    print_weights(content.weights, console)
    for warning in words.leaks(content):
        _say(warning, console)


def _outlooks(outlooks: Sequence[Outlook], content: Content) -> Table:
    """Return a table of the envelopes at the last step, in per cent of the last close."""
    table = _table("symbol", "close", "until", "p10", "p50", "p90", "width", "confidence", "events to come")
    for outlook in outlooks:
        low, middle, high = words.moves(outlook)
        confidence = words.confidence(outlook.served)
        other = outlook.served.model if outlook.served.model != content.served else ""
        table.add_row(
            f"[bold]{escape(outlook.symbol)}[/]" + (f" ({escape(other)})" if other else ""),
            words.price(outlook.close, outlook.close),
            words.short(outlook.targets[-1], content.freq),
            *(words.percent(move, sign=True) for move in (low, middle, high)),
            words.percent(high - low),
            "–" if confidence is None else words.figure(confidence, 2),
            escape(", ".join(dict.fromkeys(words.event(e) for e in outlook.events if e.bar > 0))),
        )
    return table


def _notes(outlooks: Sequence[Outlook]) -> list[str]:
    """Return each note once, with the symbols that it is about."""
    about: dict[str, list[str]] = {}
    for outlook in outlooks:
        for note in words.notes(outlook, brief=True):
            about.setdefault(note, []).append(outlook.symbol)
    return [f"{', '.join(symbols)}: {note}" for note, symbols in about.items()]


def _print_board(board: Board, console: Console) -> None:
    when = f", {words.period(board)}." if board.scores else ""
    console.print(f"\n[bold]{escape(board.title)}[/]{when}{escape(words.few(board))}", highlight=False)
    if board.scores is None:
        console.print(escape(board.empty), soft_wrap=True, highlight=False)
        return
    print_scoreboard(board.scores, console=console, by=("all",))


def _table(*names: str) -> Table:
    table = plain_table()
    for i, name in enumerate(names):
        text = i == 0 or name == "events to come"
        justify: Literal["left", "right"] = "left" if text else "right"
        table.add_column(name, justify=justify, no_wrap=not text, max_width=_NAME if text else None)
    return table


def _say(line: str, console: Console) -> None:
    console.print(f"[dim]{escape(line)}[/]", soft_wrap=True, highlight=False)
