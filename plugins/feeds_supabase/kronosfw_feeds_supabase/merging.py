"""One event that stands in several tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kronosfw.types import Fact, Moment

Key = tuple[str, Moment, tuple[str, ...]]


def merged(parts: Sequence[Sequence[Fact]]) -> Iterator[Fact]:
    """Yield the facts of several tables; those of one kind, moment and symbols are versions of one event.

    They take the name that the event has in the first of the tables. Nothing is left out or changed otherwise, so
    that what is known of an event at a moment does not depend on what another table says later. A fact without a
    name stands alone.
    """
    first: dict[Key, str] = {}
    names: dict[str, str] = {}
    for part in parts:
        named = sorted((fact for fact in part if fact.event), key=_order)
        for fact in named:
            if _key(fact) in first:
                names.setdefault(fact.event, first[_key(fact)])
        for fact in named:
            first.setdefault(_key(fact), names.get(fact.event, fact.event))
    for fact in sorted((fact for part in parts for fact in part), key=_order):
        yield replace(fact, event=names.get(fact.event, fact.event))


def _key(fact: Fact) -> Key:
    return fact.kind, fact.scheduled_at, fact.symbols


def _order(fact: Fact) -> tuple[object, ...]:
    values = tuple(sorted(fact.values.items()))
    return fact.known_at, fact.scheduled_at, fact.kind, fact.event, fact.symbols, values
