"""Figures as calendars print them."""

from __future__ import annotations

import re

_FIGURE = re.compile(r"[<>]?\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*([KMBT%]?)", re.IGNORECASE)
_FACTORS = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
_IMPACTS = {"high": 3.0, "medium": 2.0, "low": 1.0, "non-economic": 0.0, "holiday": 0.0, "bank holiday": 0.0}


def figure(text: str) -> float | None:
    """Return the number in a text such as ``250K``, ``3.1%`` or ``<0.10%``; None where there is not one.

    Percentages stay percentages, K, M, B and T multiply, and a bound counts as the figure.
    """
    match = _FIGURE.fullmatch(text.strip())
    return float(match[1]) * _FACTORS.get(match[2].upper(), 1.0) if match else None


def importance(text: str) -> float | None:
    """Return 3, 2, 1 or 0 for an impact that begins with High, Medium, Low or Non-Economic; else None."""
    lower = text.strip().casefold()
    return next((value for word, value in _IMPACTS.items() if lower.startswith(word)), None)
