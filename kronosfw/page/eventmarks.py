"""The events in a chart: those to come by name, those before as notches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from . import words
from .content import Event
from .places import Span
from .svg import across, cut

ROW = 14
"""Pixels of a row of names."""
_NARROWEST = 250
"""Pixels across of the plot on a small telephone: names must fit there."""
_LETTER = 7
"""Pixels across of a letter, about."""


def in_rows(events: Sequence[Event], span: Span) -> Iterator[tuple[int, int, list[Event]]]:
    """Yield for each bar with events to come the row in which their names fit, the bar and the events."""
    ends: list[float] = []
    to_come = [event for event in events if event.bar > 0]
    for bar, its in groupby(to_come, key=lambda event: event.bar):
        mine = list(its)
        half = len(_names(mine)) * _LETTER / 2 / _NARROWEST
        center = min(span.at(bar), 1 - half)
        row = next((i for i, end in enumerate(ends) if end < center - half), len(ends))
        ends[row:] = [center + half, *ends[row + 1 :]]
        yield row, bar, mine


def marks(
    rows: Sequence[tuple[int, int, list[Event]]], events: Sequence[Event], span: Span, bottom: int
) -> Iterator[str]:
    """Mark the events to come by name, over all lines, and those before by a notch."""
    for event in events:
        if event.bar <= 0:
            x = across(span.at(event.bar))
            yield (
                f'<line class="event past" x1="{x}" x2="{x}" y1="{bottom - 7}" y2="{bottom}">'
                f"<title>{escape(_when(event))}</title></line>"
            )
    for row, bar, _ in rows:
        x = across(span.at(bar))
        yield f'<line class="event" x1="{x}" x2="{x}" y1="{ROW * (row + 1)}" y2="{bottom}"/>'
    for row, bar, its in rows:
        place = span.at(bar)
        anchor = "end" if place > 0.9 else "middle"
        yield (
            f'<text class="event halo" x="{across(place)}" y="{ROW * (row + 1) - 3}" text-anchor="{anchor}">'
            f"<title>{escape('; '.join(map(_when, its)))}</title>{escape(_names(its))}</text>"
        )


def _when(event: Event) -> str:
    return f"{words.event(event)}, {words.clock(event.at)} UTC"


def _names(events: Sequence[Event]) -> str:
    return cut(" · ".join(dict.fromkeys(words.event(event) for event in events)), 24)
