"""One event that stands in several tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from kronosfw.types import Fact, Moment

Key = tuple[str, Moment, tuple[str, ...]]
"""Kind, moment and symbols."""

Event = tuple[int, str]
"""The number of a table, and what it calls the event."""


def merged(parts: Sequence[Sequence[Fact]]) -> Iterator[Fact]:
    """Yield the facts of several tables; those of one event take the name under which it was known first.

    An event that becomes known is taken for the one that another table has said to be of the same kind, moment
    and symbols, if no table knows two such by then. This is settled by what is known at that moment and stays,
    so that it does not depend on what any table says later. A fact without a name stands alone.
    """
    told = sorted(((fact, part) for part, facts in enumerate(parts) for fact in facts), key=_order)
    names: dict[Event, str] = {}
    holders: defaultdict[Key, dict[Event, None]] = defaultdict(dict)
    for _, group in groupby(told, key=lambda item: item[0].known_at):
        facts = list(group)
        fresh: dict[Event, Key] = {}
        for fact, part in facts:
            if fact.event:
                event = part, fact.event
                holders[_key(fact)].setdefault(event)
                if event not in names:
                    fresh.setdefault(event, _key(fact))
        for event in sorted(fresh):
            names[event] = _name(event, holders[fresh[event]], names)
        for fact, part in facts:
            yield replace(fact, event=names[part, fact.event]) if fact.event else fact


def _name(event: Event, alike: Mapping[Event, None], names: Mapping[Event, str]) -> str:
    """Return the name that one of the others ``alike`` has already, unless any two of them are of one table."""
    tables = [part for part, _ in alike]
    if len(set(tables)) < len(tables):
        return event[1]
    return next((names[other] for other in alike if other in names), event[1])


def _key(fact: Fact) -> Key:
    return fact.kind, fact.scheduled_at, fact.symbols


def _order(item: tuple[Fact, int]) -> tuple[object, ...]:
    fact, part = item
    values = tuple(sorted(fact.values.items()))
    return fact.known_at, fact.scheduled_at, fact.kind, fact.event, fact.symbols, values, part
