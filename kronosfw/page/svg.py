"""What charts are made of: inline SVG in which text keeps its size however wide the page is.

Places across are shares of the width, places down are pixels. Curves lie in an inner drawing that is stretched;
text, dots and marks lie in the outer one, which is not. Colours and strokes belong to the style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

ACROSS = 1000
"""Units across in a stretched drawing."""
_SERIES = 8
"""Different colours, dashes and marks."""


class Drawing(str):
    """SVG in which everything is escaped already: a template takes it as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def series(place: int) -> str:
    """Return the class of the style sheet for the model at a place of the configuration's order."""
    return f"s{place % _SERIES}"


def key(kind: str) -> Drawing:
    """Draw a legend's sample of a band, median, history, since, event, series or, with its marks, marked.

    Words after the first are further classes of the style sheet.
    """
    match kind.split()[0]:
        case "band":
            shape = f'<rect class="{kind}" width="26" height="12"/>'
        case "event":
            shape = '<line class="event" x1="13" x2="13" y1="0" y2="12"/>'
        case "since":
            shape = '<path class="since" d="M0 6H26"/><circle class="came" cx="13" cy="6" r="3"/>'
        case "series":
            shape = f'<g class="{kind}"><path d="M0 6H26"/></g>'
        case "marked":
            sign = mark(13, 6, int(kind[-1]))
            shape = f'<g class="series {kind}"><path d="M0 6H26"/><path class="mark" d="{sign}"/></g>'
        case _:
            shape = f'<path class="{kind}" d="M0 6H26"/>'
    return Drawing(f'<svg class="key" width="26" height="12" aria-hidden="true">{shape}</svg>')


def cut(text: str, most: int) -> str:
    """Return the text, shortened where it has more letters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def ticks(low: float, high: float, about: int) -> list[float]:
    """Return round values between two, about so many."""
    rough = (high - low) / about
    if not rough > 0:
        return [low]
    unit = 10 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step) + 1)]


def mark(x: float, y: float, kind: int) -> str:
    """Return the path of a mark: a square, a diamond, a triangle, a cross and so on."""
    shapes = (
        "m-3.5 -3.5h7v7h-7z",
        "m0 -5l5 5l-5 5l-5 -5z",
        "m0 -4.5l4.5 8h-9z",
        "m-4 -4l8 8m0 -8l-8 8",
        "m0 4.5l4.5 -8h-9z",
        "m-5 0h10m-5 -5v10",
        "m-2 -5h4v10h-4z",
        "m-5 -2h10v4h-10z",
    )
    return f"M{x} {y}{shapes[kind]}"


def across(share: float) -> str:
    """Return a place across for the outer drawing."""
    return f"{100 * share:.2f}%"


def stretched(height: int, curves: Sequence[str]) -> str:
    """Return the inner drawing, which is as wide as the outer one."""
    return (
        f'<svg width="100%" height="{height}" viewBox="0 0 {ACROSS} {height}" preserveAspectRatio="none">'
        f"{''.join(curves)}</svg>"
    )


def svg(height: int, name: str, *parts: str, kind: str) -> Drawing:
    """Return the outer drawing; ``name`` is what those hear who do not see it."""
    label = escape(name)
    return Drawing(f'<svg class="{kind}" role="img" aria-label="{label}" height="{height}">{"".join(parts)}</svg>')
