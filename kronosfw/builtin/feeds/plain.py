"""The plain format of facts: one row for each fact, with the moment it became known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...types import Fact, Finding, Span
from .faults import Fault
from .stamps import Clock
from .values import decoded, floats, is_text, refuse_missing, trimmed

FIGURES = ("actual", "forecast", "previous", "importance")
_WORDS = ("event", "kind", "scheduled_at", "known_at", "symbols")


def plain_facts(columns: Mapping[str, Any], clock: Clock) -> list[Fact]:
    """Return a fact for each row of Arrow arrays ``[N]`` by lower-case name.

    ``kind``, ``scheduled_at`` and ``known_at`` must be there; ``symbols`` are separated by semicolons, none
    means all. What has a mere date for ``known_at`` is known when that date ends. ``actual``, ``forecast``,
    ``previous``, ``importance`` and whatever other column is numeric throughout are the values; an empty field
    is left out. Raises Fault.
    """
    missing = [name for name in ("kind", "scheduled_at", "known_at") if name not in columns]
    if missing:
        raise Fault(f"no column {', '.join(missing)}; found {', '.join(columns)}")
    scheduled, _ = clock.bounds(columns["scheduled_at"], "scheduled_at")
    _, known = clock.bounds(columns["known_at"], "known_at")
    kinds = words(columns, "kind", needed=True)
    events, symbols = words(columns, "event"), words(columns, "symbols")
    figures = {name: numbers for name in columns if (numbers := _numbers(columns, name)) is not None}
    return [
        Fact(
            kind=kinds[row],
            scheduled_at=scheduled[row],
            known_at=known[row],
            symbols=tuple(s.strip() for s in symbols[row].split(";") if s.strip()),
            values={name: float(n[row]) for name, n in figures.items() if np.isfinite(n[row])},
            event=events[row],
        )
        for row in range(len(scheduled))
    ]


def within(facts: Iterable[Fact | Finding], symbols: Sequence[str], span: Span) -> Iterator[Fact | Finding]:
    """Yield the facts scheduled in the span that concern any of the symbols, and all findings."""
    wanted = set(symbols)
    for fact in facts:
        if isinstance(fact, Finding):
            yield fact
            continue
        if fact.scheduled_at > span.end or (span.start is not None and fact.scheduled_at < span.start):
            continue
        if not fact.symbols or not wanted.isdisjoint(fact.symbols):
            yield fact


def words(columns: Mapping[str, Any], name: str, *, needed: bool = False) -> list[str]:
    """Return a column as texts, empty where nothing stands; raises Fault for a missing one that is needed."""
    if name not in columns:
        return [""] * len(next(iter(columns.values())))
    column = decoded(columns[name])
    column = trimmed(column if is_text(column) else pc.cast(column, pa.string()))
    if needed:
        refuse_missing(column, name)
    return [text or "" for text in column.to_pylist()]


def _numbers(columns: Mapping[str, Any], name: str) -> Any:
    """Return a column's numbers; None for one of words, and for another one that is not numeric."""
    if name in _WORDS:
        return None
    try:
        return floats(columns[name], name)
    except Fault:
        if name in FIGURES:
            raise
        return None
