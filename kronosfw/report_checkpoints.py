"""What a person or a program is shown of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from .checkpoints import read_verdict, titled
from .checkpoints.verdicts import plain
from .inventory import Item
from .report import Terminal, minute, plain_table
from .report_verdict import checks_table
from .rows import as_datetime
from .types import Entry, Moment, Verdict


def print_items(items: Sequence[Item], root: Path, console: Console | None = None) -> None:
    """Print the checkpoints home by home."""
    console = console or Terminal()
    if not items:
        console.print(f"There are no checkpoints below {escape(str(root))}.", soft_wrap=True, highlight=False)
    for number, (home, group) in enumerate(groupby(items, lambda item: item.checkpoint.path.parents[1])):
        _print_home(home.name, number, console)
        table = plain_table()
        for name in ("version", "state", "serves", "trained until", "loss", "MB"):
            table.add_column(name, no_wrap=name != "serves", justify="right" if name in ("loss", "MB") else "left")
        for item in group:
            c = item.checkpoint
            loss = c.metrics.get("loss")
            table.add_row(
                c.version,
                f"{c.state}, active" if c.active else c.state,
                escape(", ".join(item.serves)),
                "–" if c.trained_until is None else _day(c.trained_until),
                "–" if loss is None else f"{loss:.5g}",
                f"{item.size / 1e6:.1f}",
                style="bold" if item.serves else None,
            )
        console.print(table)


def item_as_json(item: Item) -> dict[str, Any]:
    """Return a checkpoint as plain values."""
    c = item.checkpoint
    return {
        "version": titled(c.path),
        "path": str(c.path),
        "asset_class": c.asset_class,
        "forecaster": c.forecaster,
        "state": c.state,
        "active": c.active,
        "serves": list(item.serves),
        "trained_until": None if c.trained_until is None else as_datetime(c.trained_until).isoformat(),
        "metrics": plain(c.metrics),
        "size": item.size,
    }


def print_checkpoint(
    item: Item, manifest: Mapping[str, Any], history: Sequence[Entry], console: Console | None = None
) -> None:
    """Print where a checkpoint comes from, the verdict on it and what became of it."""
    console = console or Terminal()
    c = item.checkpoint
    table = plain_table()
    table.show_header = False
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(item, manifest).items():
        table.add_row(name, escape(value))
    console.print(f"[bold]{escape(titled(c.path))}[/]\n", highlight=False)
    console.print(table)
    verdict, overruled = read_verdict(c.path)
    if verdict is not None:
        _print_verdict(verdict, overruled, console)
    if history:
        console.print("\n[bold]History[/]")
        _print_entries(history, console)


def _facts(item: Item, manifest: Mapping[str, Any]) -> dict[str, str]:
    c, train, trainer = item.checkpoint, manifest.get("train", {}), manifest.get("trainer", {})
    told = {
        "state": f"{c.state}, active" if c.active else c.state,
        "serves": ", ".join(item.serves) or "nothing",
        "weights of": c.forecaster,
        "trainer": " ".join(str(trainer[key]) for key in ("type", "release") if key in trainer),
        "parent": str(manifest.get("parent") or "base weights"),
        "learned from": " to ".join(_minute(train[key]) for key in ("from", "until") if key in train),
        "examples": ", ".join(f"{n:,} to {what}" for what, n in train.get("examples", {}).items()),
        "metrics": ", ".join(f"{name} {value:.5g}" for name, value in c.metrics.items()),
        "files": f"{len(manifest['files'])}, {item.size / 1e6:.1f} MB",
        "folder": str(c.path),
    }
    return {name: text for name, text in told.items() if text}


def _print_verdict(verdict: Verdict, overruled: str, console: Console) -> None:
    decision = "[green]accepted[/]" if verdict.accepted else "[red]rejected[/]"
    console.print(f"\n[bold]Verdict:[/] {decision}")
    for reason in verdict.reasons:
        console.print(f"  {escape(reason)}", soft_wrap=True, highlight=False)
    if overruled:
        console.print(f"  overruled by a person: {escape(overruled)}", soft_wrap=True, highlight=False)
    if verdict.checks:
        console.print()
        console.print(checks_table(verdict))


def checkpoint_as_json(item: Item, manifest: Mapping[str, Any], history: Sequence[Entry]) -> dict[str, Any]:
    """Return all there is to know of a checkpoint as plain values."""
    verdict, overruled = read_verdict(item.checkpoint.path)
    return {
        **item_as_json(item),
        "verdict": None if verdict is None else plain(asdict(verdict)),
        "overruled": overruled or None,
        "history": [entry_as_json(entry) for entry in history],
        "manifest": manifest,
    }


def print_history(entries: Mapping[str, Sequence[Entry]], console: Console | None = None) -> None:
    """Print what became of the checkpoints, home by home."""
    console = console or Terminal()
    told = {name: each for name, each in entries.items() if each}
    if not told:
        console.print("Nothing was activated or judged yet.")
    for number, (name, each) in enumerate(told.items()):
        _print_home(name, number, console)
        _print_entries(each, console)


def _print_entries(entries: Sequence[Entry], console: Console) -> None:
    table = plain_table()
    for name in ("when (UTC)", "what", "version", "why"):
        table.add_column(name, no_wrap=name != "why")
    for entry in entries:
        what, when = entry.event.replace("_", " "), f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M}"
        table.add_row(
            when, f"{what} to" if what == "rolled back" else what, entry.version or "–", escape(entry.reason)
        )
    console.print(table)


def entry_as_json(entry: Entry) -> dict[str, Any]:
    """Return an entry of a history as plain values."""
    slot = None if entry.slot is None else entry.slot.isoformat()
    content: dict[str, Any] = plain({**asdict(entry), "at": entry.at.isoformat(), "slot": slot})
    return content


def print_verified(results: Sequence[tuple[str, str]], root: Path, console: Console | None = None) -> None:
    """Print which checkpoints are sound and what is wrong with the others."""
    console = console or Terminal()
    if not results:
        console.print(f"There are no checkpoints below {escape(str(root))}.", soft_wrap=True, highlight=False)
    for title, damage in results:
        state = f"[red bold]damaged[/] {escape(damage)}" if damage else f"[green]sound[/] {escape(title)}"
        console.print(state, soft_wrap=True, highlight=False)


def _print_home(name: str, number: int, console: Console) -> None:
    if number:
        console.print()
    console.print(f"[bold]{escape(name)}[/]")


def _minute(text: str) -> str:
    return text[:16].replace("T", " ")


def _day(when: Moment) -> str:
    return minute(when)[:10]
