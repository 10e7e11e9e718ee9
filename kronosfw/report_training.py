"""What a person or a program is shown of a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .report import Terminal, minute, plain_table, print_failures, print_findings
from .rows import as_datetime
from .snapshots import LOSS, Record

if TYPE_CHECKING:
    from .config import Config
    from .examples import Extent
    from .training import TrainReport

_MOST_ROWS, _MOST_COLUMNS = 12, 5
_FIRST = ("train_loss", LOSS)


def print_training(report: TrainReport, config: Config, console: Console | None = None) -> None:
    """Print what was learned from, the snapshots with their losses, and where the version is."""
    console = console or Terminal()
    console.print(_extents(report))
    print_findings(report.data, console)
    print_failures(report.failures, console)
    _print_snapshots(report, console)
    done = f"trained in {report.seconds:.1f} s" if report.trained else "was there already: nothing is to be trained"
    size = sum(path.stat().st_size for path in report.path.rglob("*") if path.is_file()) / 1e6
    console.print(f"\n[bold]{escape(str(report.path))}[/], {size:.1f} MB\n{done}", soft_wrap=True, highlight=False)
    lines = _to_serve(report, config)
    if config.checkpoints is not None and not report.serves:
        which = f"{report.asset_class or 'base'}/{report.version}"
        text = f"Another version serves. To change that: kronosfw checkpoints activate FILE {which}"
        console.print(f"\n{text}", soft_wrap=True, highlight=False)
    if lines:
        shown = "\n".join(f"  {line}" for line in lines)
        console.print(
            f"\nTo serve it, put into the configuration:\n{shown}", soft_wrap=True, highlight=False, markup=False
        )


def training_as_json(report: TrainReport) -> dict[str, Any]:
    """Return what came of a training as plain values."""
    return {
        "version": report.version,
        "path": str(report.path),
        "asset_class": report.asset_class,
        "forecaster": report.forecaster,
        "trained": report.trained,
        "serves": report.serves,
        "exit_code": report.exit_code,
        "best": report.best.step,
        "snapshots": [{"step": r.step, "metrics": dict(r.metrics)} for r in report.snapshots],
        "train": [_extent_as_json(e) for e in report.train],
        "validation": [_extent_as_json(e) for e in report.validation],
        "failures": [asdict(f) for f in report.failures],
        "data": [{"of": r.symbol, **asdict(f)} for r in report.data.values() for f in r.findings],
    }


def _extents(report: TrainReport) -> Table:
    """Return how many examples there are and what they span, by split and asset class."""
    table = plain_table()
    for name in ("examples to", "asset class", "symbols", "examples", "from", "until (UTC)"):
        table.add_column(name, justify="right" if name in ("symbols", "examples") else "left")
    for what, extents in (("train", report.train), ("validate", report.validation)):
        for e in extents:
            counts = f"{e.symbols:,}", f"{e.examples:,}"
            table.add_row(what, escape(e.asset_class), *counts, minute(e.first), minute(e.last))
    return table


def _extent_as_json(extent: Extent) -> dict[str, Any]:
    moments = {"first": as_datetime(extent.first).isoformat(), "last": as_datetime(extent.last).isoformat()}
    return {**asdict(extent), **moments}


def _print_snapshots(report: TrainReport, console: Console) -> None:
    """Print the metrics of the snapshots, the best marked; of many some, evenly spread."""
    names = {name for record in report.snapshots for name in record.metrics}
    same = [name for name in sorted(names) if name not in _FIRST and _is_the_same(name, report.snapshots)]
    names.difference_update(same)
    columns = [name for name in _FIRST if name in names] + sorted(names.difference(_FIRST))
    table = plain_table()
    for name in ("step", *columns[:_MOST_COLUMNS], ""):
        table.add_column("validation loss" if name == LOSS else escape(name.replace("_", " ")), justify="right")
    for record in _some(report.snapshots, report.best):
        figures = (record.metrics.get(name) for name in columns[:_MOST_COLUMNS])
        cells = ("–" if value is None else f"{value:.5g}" for value in figures)
        best = record.step == report.best.step
        table.add_row(f"{record.step:,}", *cells, "← best" if best else "", style="bold" if best else None)
    console.print()
    console.print(table)
    if len(report.snapshots) > _MOST_ROWS:
        console.print(f"[dim]{len(report.snapshots)} snapshots in all[/]")
    if same:
        alike = ", ".join(f"{name.replace('_', ' ')} {_plain(report.best.metrics[name])}" for name in same)
        console.print(escape(f"\n{alike}"), highlight=False)


def _plain(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:,.0f}" if figure == int(figure) else f"{figure:.4g}"


def _is_the_same(name: str, records: Sequence[Record]) -> bool:
    """Tell whether all of several snapshots have one value of a metric."""
    values = {record.metrics.get(name) for record in records}
    return len(records) > 1 and len(values) == 1 and None not in values


def _some(records: Sequence[Record], best: Record) -> list[Record]:
    """Return the first, the last, the best and others evenly spread, at most as many as there is room for."""
    n, room = len(records), _MOST_ROWS - 1
    if n <= _MOST_ROWS:
        return list(records)
    kept = {i * (n - 1) // (room - 1) for i in range(room)}
    return [record for i, record in enumerate(records) if i in kept or record.step == best.step]


def _to_serve(report: TrainReport, config: Config) -> list[str]:
    """Return the lines that the configuration lacks for the version to serve."""
    lines = []
    if all(forecaster.type != report.forecaster for forecaster in config.forecasters):
        lines.append(f"forecasters: [{{type: {report.forecaster}}}]")
    if config.checkpoints is None:
        lines.append("checkpoints: {type: latest}")
    return lines
