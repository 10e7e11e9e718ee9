"""What the page tells of a symbol when asked for, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import words
from .content import Envelope, Outlook
from .scorecharts import share

_MOST_COLUMNS = 6
"""Of weights, where each step has its own."""


def tables(outlook: Outlook, freq: str) -> Iterator[dict[str, Any]]:
    """Yield what is told in full only when asked for."""
    yield from _weights(outlook)
    yield from _contributions(outlook)
    yield from _moved(outlook)
    if outlook.events:
        yield {
            "summary": "Events",
            "note": "As they were known at the cutoff, from the latest to the earliest.",
            "head": ["event", "UTC", "figures"],
            "rows": [
                (
                    words.event(e),
                    words.clock(e.at),
                    ", ".join(f"{name} {value:g}" for name, value in e.figures.items()),
                )
                for e in reversed(outlook.events)
            ],
        }
    served = outlook.served
    yield {
        "summary": "Prices by step",
        "note": f"Quantiles of {served.model}.",
        "head": ["step", "bar", *(f"p{100 * level:g}" for level in served.levels), "came"],
        "rows": [
            (
                step,
                words.short(at, freq),
                *(words.price(value, outlook.close) for value in quantiles),
                words.price(came, outlook.close) if (came := dict(outlook.since).get(step)) is not None else "–",
            )
            for step, (at, quantiles) in enumerate(zip(outlook.targets, served.quantiles, strict=True), start=1)
        ],
    }


def _weights(outlook: Outlook) -> Iterator[dict[str, Any]]:
    envelope = _last_with(outlook, "weights")
    if envelope is None:
        return
    columns = list(words.stretches([words.figures(context.get("weights")) for context in envelope.contexts]))
    every = -(-len(columns) // _MOST_COLUMNS)
    columns = columns[::-every][::-1]
    members = list(dict.fromkeys(name for _, weights in columns for name in weights))
    last = ", ".join(f"{name} {words.percent(columns[-1][1].get(name, 0), 0)}" for name in members)
    yield {
        "summary": f"Weights of the members: {last}",
        "head": ["member", *(steps for steps, _ in columns)],
        "rows": [(name, *(share(weights.get(name, 0.0)) for _, weights in columns)) for name in members],
    }


def _contributions(outlook: Outlook) -> Iterator[dict[str, Any]]:
    envelope = _last_with(outlook, "contributions")
    if envelope is None:
        return
    told = {str(name): words.figures(by) for name, by in envelope.contexts[-1]["contributions"].items()}
    members = list(dict.fromkeys(member for by in told.values() for member in by))
    ranked = sorted(told, key=lambda name: (-sum(map(abs, told[name].values())), name))
    yield {
        "summary": "What moved the weights",
        "note": "At the last step: what each feature adds to a member's score. A higher score means more weight.",
        "head": ["feature", *members],
        "rows": [(name, *(words.figure(told[name].get(m, 0.0), sign=True) for m in members)) for name in ranked],
    }


def _moved(outlook: Outlook) -> Iterator[dict[str, Any]]:
    rows = []
    for envelope in outlook.envelopes:
        moved = envelope.contexts[-1].get("moved")
        for group, shifts in moved.items() if isinstance(moved, Mapping) else ():
            low, middle, high = (shift / abs(outlook.close) for shift in _three(shifts))
            shown = (words.percent(by, 2, sign=True) for by in (middle, high - low))
            rows.append((envelope.model, str(group), *shown))
    if rows:
        yield {
            "summary": "What events moved",
            "note": "At the last step, in % of the last close.",
            "head": ["model", "group of events", "p50", "width"],
            "rows": rows,
        }


def _three(told: Any) -> list[float]:
    """Return what should be the shifts of p10, p50 and p90; not finite where it is something else."""
    found = list(words.figures(dict(enumerate(told))).values()) if isinstance(told, Sequence) else []
    return found if len(found) == 3 else [math.nan] * 3


def _last_with(outlook: Outlook, name: str) -> Envelope | None:
    """Return the last envelope whose last step tells something by that name."""
    return next((e for e in reversed(outlook.envelopes) if isinstance(e.contexts[-1].get(name), Mapping)), None)
