"""Where bars and prices lie in a chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from .content import Outlook

_SHARE = 0.4
"""Of the width, what the bars to come get at least."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where bars lie across: 0 is the last one before the cutoff, 1 the first one to come."""

    before: int
    """Steps from the first bar of the history to the last one."""
    after: int
    split: float
    """Where the last bar before the cutoff lies."""

    @classmethod
    def of(cls, outlook: Outlook) -> Self:
        """Return the places of a chart: as in time, unless the bars to come would have too little room."""
        before, after = max(len(outlook.history) - 1, 0), len(outlook.targets)
        return cls(before, after, 1 - max(after / (before + after), _SHARE) if before else 0.0)

    @property
    def stretching(self) -> float:
        """How many times more room a bar to come has than one before; 1 where both have the same."""
        return ((1 - self.split) / self.after) / (self.split / self.before) if self.before else 1.0

    def at(self, bar: float) -> float:
        """Return the place of a bar as a share of the width."""
        if bar >= 0:
            return self.split + (1 - self.split) * bar / self.after
        return self.split * max(1 + bar / self.before, 0.0) if self.before else self.split


@dataclass(frozen=True, slots=True)
class Scale:
    """Where prices lie, in pixels from the top."""

    low: float
    high: float
    height: int

    def at(self, value: float) -> float:
        """Return the place of a price."""
        gap = (self.high - self.low) or abs(self.high) or 1.0
        return round(self.height * (0.04 + 0.92 * (self.high - value) / gap), 1)
