"""A symbol's chart: its history, the envelope to come as a fan, the models behind it, and the events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from ..freq import is_daily
from ..types import ENVELOPE
from .content import Envelope, Outlook
from .eventmarks import ROW, in_rows, marks
from .places import Scale, Span
from .svg import ACROSS, Drawing, across, stretched, svg, ticks
from .words import plural, price, short

_HEIGHT, _LABELS = 260, 24
"""Pixels of the plot, and of the dates below it."""


def fan(outlook: Outlook, classes: Mapping[str, str], freq: str) -> Drawing:
    """Draw a symbol's history, its forecast as a fan with the other models behind it, and the events."""
    span = Span.of(outlook)
    scale = Scale(*_range(outlook), _HEIGHT)
    rows = list(in_rows(outlook.events, span))
    top = ROW * (1 + max((row for row, _, _ in rows), default=-1)) + 6
    curves = [
        *_bands(outlook.served, outlook.close, span, scale),
        *(_member(e, classes[e.model], outlook.close, span, scale) for e in outlook.envelopes[:-1]),
        _curve([(0, outlook.close), *_steps(outlook.served.path(0.5))], span, scale, "median"),
        _curve(_closes(outlook), span, scale, "history"),
        _curve([(0, outlook.close), *outlook.since] if outlook.since else [], span, scale, "since"),
    ]
    low, middle, high = (price(value, outlook.close) for value in outlook.served.end)
    name = (
        f"{outlook.symbol}: last close {price(outlook.close, outlook.close)}; "
        f"after {plural(len(outlook.targets), 'bar')} p10 {low}, p50 {middle}, p90 {high}"
    )
    return svg(
        top + _HEIGHT + _LABELS,
        name,
        f'<g transform="translate(0 {top})">',
        *_grid(scale),
        stretched(_HEIGHT, curves),
        *_prices(scale),
        *_dots(outlook, span, scale),
        *_ends(outlook, scale),
        *_dates(outlook, span, freq),
        "</g>",
        *marks(rows, outlook.events, span, top + _HEIGHT),
        kind="fan",
    )


def spark(outlook: Outlook, bars: int = 30) -> Drawing:
    """Draw the last closes and the envelope, small."""
    closes = [close for _, close in outlook.history[-bars:]] or [outlook.close]
    closes[-1] = outlook.close
    span = Span(len(closes) - 1, len(outlook.targets), 0.5 if len(closes) > 1 else 0.0)
    low, _, high = (outlook.served.path(level) for level in ENVELOPE)
    scale = Scale(min(*closes, *low), max(*closes, *high), 30)
    past = [(i + 1 - len(closes), close) for i, close in enumerate(closes)]
    curves = [
        _area(low, high, outlook.close, span, scale, "band b0"),
        _curve([(0, outlook.close), *_steps(outlook.served.path(0.5))], span, scale, "median"),
        _curve(past, span, scale, "history"),
    ]
    return svg(30, f"{outlook.symbol}: last closes and envelope", stretched(30, curves), kind="spark")


def _range(outlook: Outlook) -> tuple[float, float]:
    """Return the lowest and the highest price to show. Models that stray far from what is served are cut off."""
    served = [value for step in outlook.served.quantiles for value in step]
    low, high = min(*served, outlook.close), max(*served, outlook.close)
    room = high - low
    others = [value for e in outlook.envelopes[:-1] for level in (0.1, 0.9) for value in e.path(level)]
    near = [min(max(value, low - room), high + room) for value in others]
    closes = [close for _, close in (*outlook.history, *outlook.since)]
    every = [low, high, *near, *closes]
    return min(every), max(every)


def _closes(outlook: Outlook) -> list[tuple[float, float]]:
    n = len(outlook.history)
    return [(i + 1 - n, close) for i, (_, close) in enumerate(outlook.history)]


def _steps(path: Sequence[float]) -> list[tuple[float, float]]:
    return list(enumerate(path, start=1))


def _point(bar: float, value: float, span: Span, scale: Scale) -> str:
    return f"{ACROSS * span.at(bar):.1f} {scale.at(value)}"


def _curve(points: Sequence[tuple[float, float]], span: Span, scale: Scale, kind: str) -> str:
    if not points:
        return ""
    line = "L".join(_point(bar, value, span, scale) for bar, value in points)
    return f'<path class="{kind}" d="M{line}"/>'


def _area(low: Sequence[float], high: Sequence[float], close: float, span: Span, scale: Scale, kind: str) -> str:
    there = [(0, close), *_steps(high)]
    back = _steps(low)[::-1]
    return f'<path class="{kind}" d="M{"L".join(_point(b, v, span, scale) for b, v in [*there, *back])}Z"/>'


def _bands(envelope: Envelope, close: float, span: Span, scale: Scale) -> Iterator[str]:
    """Draw the areas between quantiles that lie as far from the median, the widest first."""
    for low, high in envelope.bands:
        yield _area(envelope.path(low), envelope.path(high), close, span, scale, f"band {band(low)}")
    yield from (_curve([(0, close), *_steps(envelope.path(level))], span, scale, "edge") for level in (0.1, 0.9))


def band(level: float) -> str:
    """Return the class of a band by its lower level: that of p10 to p90, one outside or one inside it."""
    return "b0" if level == ENVELOPE[0] else "outer" if level < ENVELOPE[0] else "inner"


def _member(envelope: Envelope, kind: str, close: float, span: Span, scale: Scale) -> str:
    paths = [(0.5, "m"), (0.1, "m end"), (0.9, "m end")]
    drawn = (_curve([(0, close), *_steps(envelope.path(level))], span, scale, part) for level, part in paths)
    return f'<g class="series {kind}"><title>{escape(envelope.model)}</title>{"".join(drawn)}</g>'


def _grid(scale: Scale) -> Iterator[str]:
    for tick in ticks(scale.low, scale.high, 4):
        y = scale.at(tick)
        yield f'<line class="grid" x1="0" x2="100%" y1="{y}" y2="{y}"/>'


def _prices(scale: Scale) -> Iterator[str]:
    """Write the prices of the grid into the plot, over the curves."""
    for tick in ticks(scale.low, scale.high, 4):
        yield f'<text class="tick halo" x="0" y="{scale.at(tick) - 4}">{tick:,.10g}</text>'


def _dots(outlook: Outlook, span: Span, scale: Scale) -> Iterator[str]:
    split = across(span.split)
    yield f'<line class="cutoff" x1="{split}" x2="{split}" y1="0" y2="{_HEIGHT}"/>'
    close = f"last close {price(outlook.close, outlook.close)}"
    yield (
        f'<circle class="close" cx="{split}" cy="{scale.at(outlook.close)}" r="3.5"><title>{close}</title></circle>'
    )
    for step, value in outlook.since:
        told = f"came at step {step}: {price(value, outlook.close)}"
        yield (
            f'<circle class="came" cx="{across(span.at(step))}" cy="{scale.at(value)}" r="3">'
            f"<title>{told}</title></circle>"
        )


def _ends(outlook: Outlook, scale: Scale) -> Iterator[str]:
    """Write the envelope's last prices beside it, where need be somewhat apart."""
    low, middle, high = outlook.served.end
    apart = 15
    center = min(max(scale.at(middle), apart + 4), _HEIGHT - apart)
    places = (("p90", high, min(scale.at(high), center - apart)), ("p50", middle, center))
    for name, value, y in (*places, ("p10", low, max(scale.at(low), center + apart))):
        yield (
            f'<text class="end" x="100%" dx="8" y="{y + 4:.1f}"><tspan class="of">{name}</tspan> '
            f"{price(value, outlook.close)}</text>"
        )


def _dates(outlook: Outlook, span: Span, freq: str) -> Iterator[str]:
    """Write the date of the first bar, of the last close and of the last step, and two between.

    Narrow pages leave out what they have no room for: the two, and the first where the time of day is told.
    """
    y = _HEIGHT + 17
    n = len(outlook.history)

    def tick(i: int, anchor: str, kind: str) -> str:
        told = short(outlook.history[i][0], freq)
        x = across(span.at(i + 1 - n))
        return f'<text class="tick {kind}" x="{x}" y="{y}" text-anchor="{anchor}">{told}</text>'

    if n > 1:
        daily = is_daily(freq)
        yield tick(0, "start", "" if daily else "wide")
        yield tick(n // 3, "middle", "wide")
        yield tick(2 * n // 3, "middle", "wide")
        yield tick(n - 1, "middle" if daily else "end", "now")
    yield f'<text class="tick" x="100%" y="{y}" text-anchor="end">{short(outlook.targets[-1], freq)}</text>'
