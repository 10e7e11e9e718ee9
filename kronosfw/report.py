"""What a person or a program is shown of a run and of scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from .freq import is_daily
from .moved import print_moved
from .rows import as_datetime
from .types import ENVELOPE, Floats, Forecast, Window
from .visible import visible

if TYPE_CHECKING:
    from .checks import DataReport
    from .config import Config
    from .interfaces import Weights
    from .reading import Failure
    from .runs import RunReport
    from .scoring import ScoreReport

_SYMBOL, _BAR, _LEAST_BAR = 20, 41, 13
"""Columns of the terminal at most for a symbol, and at most and at least for a bar."""
_MOST = 30


class Terminal(Console):
    """Shows symbols as they are, and leaves it to the command line to end well when the reader has left.

    What comes from data is shown and never obeyed: see ``visible``.
    """

    def __init__(self) -> None:
        super().__init__(emoji=False, soft_wrap=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def plain_table() -> Table:
    """Return a table without frame or edges."""
    return Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))


def print_run(report: RunReport, config: Config, console: Console | None = None) -> None:
    """Print the forecasts as a table, then what was found in the data, what failed and where the results are."""
    console = console or Terminal()
    shown = list({f.symbol: f for f in report.forecasts}.values())  # the ensemble's where there is one
    console.print(
        f"[bold]{len(report.served)}[/] of {len(report.symbols)} symbols, {config.horizon} bars of {config.freq} "
        f"ahead, as of [bold]{minute(report.cutoff)} UTC[/], model [bold]{escape(config.model_names[-1])}[/]\n",
        highlight=False,
    )
    if report.resumed:
        console.print(
            f"{len(report.resumed)} of them were finished before and are not done again\n", highlight=False
        )
    if shown:
        console.print(_envelopes(shown[:_MOST], report.windows, config.model_names[-1], console.width))
    if len(shown) > _MOST:
        console.print(f"… and {len(shown) - _MOST} more symbols in the store")
    print_moved(report.forecasts, report.windows, _MOST, console)
    print_findings(report.data, console)
    print_failures(report.failures, console)
    _print_notes(report, config, console)
    print_weights(report.weights, console)
    if report.store:
        there = {forecast.model for forecast in report.forecasts}
        models = ", ".join(name for name in config.model_names if name in there)
        rows = len(report.forecasts) * config.horizon
        made = f"{rows} predictions of {escape(models)}" if rows else "No further predictions"
        console.print(
            f"\n{made} in [bold]{escape(report.store)}[/]\n"
            f"{report.stored} of them new or changed, run {report.run_id}, {report.seconds:.1f} s",
            soft_wrap=True,
            highlight=False,
        )


def run_as_json(report: RunReport) -> dict[str, Any]:
    """Return a run's results as plain values."""
    return {
        "run_id": report.run_id,
        "cutoff": as_datetime(report.cutoff).isoformat(),
        "resumed": list(report.resumed),
        "store": report.store,
        "stored": report.stored,
        "spooled": report.spooled or None,
        "seconds": report.seconds,
        "took": dict(report.took),
        "lost": report.lost,
        "exit_code": report.exit_code,
        "forecasts": [_forecast_as_json(f, report.windows[f.symbol]) for f in report.forecasts],
        "failures": [asdict(f) for f in report.failures],
        "data": [r.as_json() for r in report.data.values()],
        "drifts": [asdict(d) for d in report.drifts],
        "weights": weights_as_json(report.weights),
    }


def print_scores(report: ScoreReport, console: Console | None = None) -> None:
    """Print scores by model, and what could not be scored."""
    console = console or Terminal()
    if report.models:
        console.print(f"[bold]{report.scored}[/] predictions scored\n", highlight=False)
        table = plain_table()
        for name in ("model", "n", "coverage of 80 %", "pinball", "CRPS", "direction"):
            table.add_column(name, justify="left" if name == "model" else "right")
        for m in report.models:
            direction = "–" if m.direction is None else f"{m.direction:.1%}"
            table.add_row(m.model, str(m.n), f"{m.coverage:.1%}", f"{m.pinball:.4%}", f"{m.crps:.4%}", direction)
        console.print(table)
        console.print("\n[dim]losses are shares of the last close; compare models on the same symbols[/]")
        print_weights(report.weights, console)
    else:
        console.print("Nothing to score: no stored prediction's target bar is complete and unscored.")
    if report.waiting:
        console.print(f"{report.waiting} predictions wait: the feed has no bar for their target yet")
    print_failures(report.failures, console)


def scores_as_json(report: ScoreReport) -> dict[str, Any]:
    """Return what a scoring did as plain values."""
    return {
        "scored": report.scored,
        "waiting": report.waiting,
        "models": [asdict(m) for m in report.models],
        "failures": [asdict(f) for f in report.failures],
        "weights": weights_as_json(report.weights),
    }


def _print_notes(report: RunReport, config: Config, console: Console) -> None:
    """Print what the models have to say of what they served, and which members have parted company."""
    notes: dict[tuple[str, str], list[str]] = {}
    for forecast in report.forecasts:
        told = [context.get("note") for context in (forecast.event_context, *forecast.steps)]
        missing = forecast.event_context.get("missing")
        told += [f"without {', '.join(missing)}, which failed"] if missing else []
        for text in dict.fromkeys(str(note) for note in told if note):
            notes.setdefault((forecast.model, text), []).append(forecast.symbol)
    for (model, text), symbols in list(notes.items())[:_MOST]:
        names = ", ".join(symbols[:8]) + (f" and {len(symbols) - 8} more" if len(symbols) > 8 else "")
        console.print(
            f"[bold]{escape(model)}[/] of {escape(names)}: {escape(text)}", soft_wrap=True, highlight=False
        )
    for departure in report.drifts:
        console.print(f"[yellow bold]drift[/] {escape(str(departure))}", soft_wrap=True, highlight=False)


def print_weights(weights: Mapping[str, Weights], console: Console) -> None:
    """Print on which terms weights are used, and from when on a score is evidence."""
    for model, its in weights.items():
        console.print(f"[dim]weights of {escape(model)}: {escape(its.terms)}[/]", soft_wrap=True, highlight=False)


def weights_as_json(weights: Mapping[str, Weights]) -> dict[str, Any]:
    return {model: its.model_dump() for model, its in weights.items()}


def _envelopes(forecasts: Sequence[Forecast], windows: Mapping[str, Window], usual: str, width: int) -> Table:
    """Return a table with each symbol's envelope at the last step, drawn on one scale.

    A symbol whose forecast is not of the ``usual`` model says of which it is.
    """
    last = {f.symbol: float(windows[f.symbol].bars.close[-1]) for f in forecasts}
    ends = {f.symbol: f.at(ENVELOPE)[-1] for f in forecasts}
    scale = max(float(np.abs(ends[s] / last[s] - 1).max()) for s in ends) or 1.0
    table = plain_table()
    names: tuple[str, ...] = ("symbol", "close", "target", "p10", "p50", "p90", "width")
    rows = [_figures(f, windows[f.symbol], usual) for f in forecasts]
    trusted = [f.event_context.get("confidence") for f in forecasts]
    if any(trusted):
        names = (*names, "confidence")
        rows = [(*row, f"{its['value']:.0%}" if its else "–") for row, its in zip(rows, trusted, strict=True)]
    widths = [max(len(row[i]) for row in (names, *rows)) for i in range(len(names))]
    widths[0] = min(widths[0], _SYMBOL)
    for name, fits in zip(names, widths, strict=True):
        justify: Literal["left", "right"] = "left" if name in ("symbol", "target") else "right"
        table.add_column(name, justify=justify, no_wrap=True, max_width=fits)
    room = (min(width - sum(widths) - 2 * len(widths) - 2, _BAR) - 1) // 2 * 2 + 1
    if room >= _LEAST_BAR:
        left, right = f"−{scale:.1%}", f"+{scale:.1%}"
        table.add_column(left + right.rjust(room - len(left)), no_wrap=True)
    for f, row in zip(forecasts, rows, strict=True):
        bar = [_bar((ends[f.symbol] / last[f.symbol] - 1) / scale, room)] if room >= _LEAST_BAR else []
        table.add_row(f"[bold]{escape(row[0])}[/]", *row[1:], *bar)
    return table


def _figures(forecast: Forecast, window: Window, usual: str) -> tuple[str, ...]:
    """Return what a row says of a symbol: its envelope at the last step."""
    close = float(window.bars.close[-1])
    low, mid, high = forecast.at(ENVELOPE)[-1].tolist()
    return (
        forecast.symbol + f" ({forecast.model})" * (forecast.model != usual),
        *(_price(close, close), _target(window)),
        *(_price(value, close) for value in (low, mid, high)),
        f"{(high - low) / close:.1%}",
    )


def _bar(ends: Floats, size: int) -> Text:
    """Draw p10 to p90 as a line with p50 on it; −1 to 1 is the whole width, the last close its middle."""
    half = size // 2
    left, dot, right = (half + round(max(min(x, 1.0), -1.0) * half) for x in ends.tolist())
    cells = ["━" if left <= i <= right else " " for i in range(size)]
    cells[half] = "┿" if left <= half <= right else "│"
    cells[dot] = "●"
    return Text("".join(cells), style="cyan")


def print_findings(data: Mapping[str, DataReport], console: Console) -> None:
    """Print what the checks found in the data of symbols that passed them."""
    findings = [(r.symbol, f) for r in data.values() for f in r.findings if f.action != "refused"]
    if not findings:
        return
    console.print("\n[bold]Data[/]")
    table = plain_table()
    for name in ("symbol", "check", "rows", "done", "detail"):
        table.add_column(name, justify="right" if name == "rows" else "left")
    for symbol, f in findings[:_MOST]:
        table.add_row(escape(symbol), f.check.replace("_", " "), str(f.count), f.action, escape(f.detail))
    console.print(table)
    if len(findings) > _MOST:
        console.print(f"… and {len(findings) - _MOST} more; `--json` lists all")


def print_failures(failures: Sequence[Failure], console: Console) -> None:
    """Print each failure once, with the symbols it struck."""
    struck: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        struck.setdefault((failure.model, failure.reason), []).append(failure.symbol)
    for (model, reason), symbols in list(struck.items())[:_MOST]:
        names = ", ".join(s for s in symbols[:8] if s) + (
            f" and {len(symbols) - 8} more" if len(symbols) > 8 else ""
        )
        where = " · ".join(part for part in (model, names) if part)
        text = reason if not where or reason.startswith(f"{where}:") else f"{where}: {reason}"
        console.print(f"[red bold]failed[/] {escape(text)}", soft_wrap=True, highlight=False)
    if len(struck) > _MOST:
        console.print(f"… and {len(struck) - _MOST} more failures")


def _forecast_as_json(forecast: Forecast, window: Window) -> dict[str, Any]:
    context = forecast.event_context
    times = zip(forecast.time, window.future.session[-len(forecast.time) :], forecast.steps, strict=True)
    return {
        "symbol": forecast.symbol,
        "model": forecast.model,
        "last_close": float(window.bars.close[-1]),
        **{name: context[name] for name in ("confidence", "note", "missing") if name in context},
        "steps": [
            {
                "step": step + 1,
                "target_time": as_datetime(time).isoformat(),
                "session": str(session),
                **{
                    column: dict(zip(map(repr, forecast.levels), row.tolist(), strict=True))
                    for column, row in zip(forecast.columns, forecast.quantiles[step], strict=True)
                },
                **{name: own[name] for name in ("moved", "without", "note") if name in own},
            }
            for step, (time, session, own) in enumerate(times)
        ],
    }


def _target(window: Window) -> str:
    return str(window.future.session[-1]) if is_daily(window.freq) else minute(window.future.time[-1])[5:]


def minute(when: Any) -> str:
    return str(when.astype("datetime64[m]")).replace("T", " ")


def _price(value: float, reference: float) -> str:
    """Show five significant digits of the reference, so that a row's figures align."""
    decimals = int(np.clip(4 - np.floor(np.log10(abs(reference) or 1.0)), 0, 8))
    return f"{value:,.{decimals}f}"
