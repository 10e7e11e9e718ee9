"""Charts of scores: dots with whiskers, calibration curves and shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from ..scoreboard import Estimate
from .svg import Drawing, across, cut, mark, svg, ticks
from .words import interval, percent

_ROW = 36
"""Pixels from one row to the next: a label, and below it the dot."""


def whiskers(
    name: str,
    rows: Sequence[tuple[str, Estimate]],
    show: Callable[[float], str],
    *,
    guide: float | None = None,
    strong: str = "",
) -> Drawing:
    """Draw a dot with its interval for each label, and a line at a value to compare with.

    The label called ``strong`` stands out. An interval whose ends are not known is left out.
    """
    ends = [end for _, its in rows for end in (its.low, its.high, its.value) if math.isfinite(end)]
    low, high = (f([*ends, *([] if guide is None else [guide])], default=0.0) for f in (min, max))
    pad = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    low, high = low - pad, high + pad
    bottom = _ROW * len(rows)

    def at(value: float) -> str:
        return across((value - low) / (high - low))

    parts = []
    for tick in ticks(low, high, 4):
        x = at(tick)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{bottom + 16}" text-anchor="middle">{show(tick)}</text>')
    if guide is not None:
        parts.append(f'<line class="guide" x1="{at(guide)}" x2="{at(guide)}" y1="-4" y2="{bottom + 4}"/>')
    for i, (label, its) in enumerate(rows):
        y = _ROW * i + 26
        kind = "dot served" if label == strong else "dot"
        told = f"{label}: {show(its.value)} ({interval(its, show)})"
        parts.append(f'<g class="{kind}"><title>{escape(told)}</title>')
        if math.isfinite(its.high - its.low):
            parts.append(f'<line x1="{at(its.low)}" x2="{at(its.high)}" y1="{y}" y2="{y}"/>')
        if math.isfinite(its.value):
            parts.append(f'<circle cx="{at(its.value)}" cy="{y}" r="4.5"/>')
        parts.append(f'<text class="name halo" x="0" y="{y - 10}">{escape(cut(label, 40))}</text></g>')
    return svg(bottom + 24, name, *parts, kind="whiskers")


def share(value: float) -> Drawing:
    """Draw a share as a small bar."""
    wide = 80 * min(max(value, 0.0), 1.0)
    return Drawing(
        '<svg class="share" aria-hidden="true"><rect class="of" width="80" height="10"/>'
        f'<rect width="{wide:.1f}" height="10"/></svg>{percent(value)}'
    )


def reliability(curves: Mapping[str, Sequence[tuple[float, float]]], classes: Mapping[str, str]) -> Drawing:
    """Draw for each model the share of outcomes below a quantile over its level; on the diagonal they are equal."""
    size = 280

    def point(level: float, share: float) -> tuple[float, float]:
        return round(size * level, 1), round(size * (1 - share), 1)

    parts = [f'<rect class="frame" width="{size}" height="{size}"/><path class="guide" d="M0 {size}L{size} 0"/>']
    for tick in (0.1, 0.5, 0.9):
        x, y = point(tick, tick)
        parts += [
            f'<path class="grid" d="M{x} 0V{size}M0 {y}H{size}"/>',
            f'<text class="tick" x="{x}" y="{size + 16}" text-anchor="middle">{tick:.0%}</text>',
            f'<text class="tick" x="-6" y="{y + 4}" text-anchor="end">{tick:.0%}</text>',
        ]
    for model, curve in curves.items():
        points = [point(level, share) for level, share in curve]
        line = "M" + "L".join(f"{x} {y}" for x, y in points)
        marks = "".join(mark(x, y, int(classes[model][-1])) for x, y in points)
        parts.append(
            f'<g class="series {classes[model]}"><title>{escape(model)}</title><path d="{line}"/>'
            f'<path class="mark" d="{marks}"/></g>'
        )
    parts += [
        f'<text class="tick" x="{size / 2}" y="{size + 34}" text-anchor="middle">level of the quantile</text>',
        f'<text class="tick" transform="translate(-40 {size / 2}) rotate(-90)" text-anchor="middle">'
        "outcomes below it</text>",
    ]
    return Drawing(
        f'<svg class="reliability" role="img" aria-label="Calibration curves of {escape(", ".join(curves))}" '
        f'viewBox="-54 -8 {size + 64} {size + 50}">{"".join(parts)}</svg>'
    )
