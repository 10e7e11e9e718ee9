"""Windows for a fine-tuning: tokens made once, event channels as they were known, drawn by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kronos.events import Channels, Floats32
from .batches import Batch


@dataclass(frozen=True)
class Samples:
    """N windows of a context of T bars and the H bars after it; L = T + H."""

    tokens: NDArray[np.int32]
    """``[N, L, 2]``, of candles normalised by the first ``prefix`` bars."""
    stamps: NDArray[np.int8]
    """``[N, L, 5]``"""
    events: Floats32
    """Channels ``[N, L, E]``: of the context as known when each bar was complete, of the bars after it as known at
    its end. E is 0 where there are none."""
    prefix: NDArray[np.int64]
    """Bars that normalised each window ``[N]``; what comes after them is learned."""
    context: int
    """T"""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Drawing:
    """Draws batches of samples for a training, and cuts them into batches for an evaluation.

    Rows after a window's cutoff show what was known at the cutoff: the schedule. With ``masking`` some windows lose
    what only releases and leaders tell from an earlier bar on, at random after the prefix, and so look more like a
    forecast. With ``dropout`` some lose a whole group of channels.
    """

    samples: Samples
    channels: Channels | None
    groups: tuple[str, ...] = ()
    """The group of each channel."""
    weights: NDArray[np.float64] | None = None
    """How likely each window is drawn ``[N]``; all the same where None."""
    masking: float = 0.0
    """Share of windows."""
    dropout: float = 0.0
    """Share of windows, for each group."""

    def draw(self, size: int, seed: Sequence[int]) -> Batch:
        """Return the batch of ``size`` windows that belongs to a seed."""
        rng = np.random.default_rng(seed)
        share = None if self.weights is None else self.weights / self.weights.sum()
        which = rng.choice(len(self.samples), size, p=share)
        events = self.samples.events[which]
        if self.channels is not None:
            events = self._hidden(events, self.samples.prefix[which], rng)
        return self._batch(which, events)

    def all(self, size: int) -> list[Batch]:
        """Return all windows in batches, with all that is known."""
        rows = np.arange(len(self.samples))
        parts = np.array_split(rows, -(-len(rows) // size))
        return [self._batch(part, self.samples.events[part]) for part in parts]

    def _hidden(self, events: Floats32, prefix: NDArray[np.int64], rng: np.random.Generator) -> Floats32:
        """Return the channels without what this training hides of them."""
        assert self.channels is not None
        size, length, _ = events.shape
        hidden = np.zeros(events.shape, dtype=np.bool_)
        cut = prefix + (rng.random(size) * (self.samples.context - prefix + 1)).astype(np.int64)
        chosen = rng.random((size, 1)) < self.masking
        late = (np.arange(length) >= cut[:, None]) & chosen
        hidden |= late[..., None] & ~np.array(self.channels.known_ahead)
        for group in dict.fromkeys(self.groups):
            lost = rng.random((size, 1, 1)) < self.dropout
            hidden |= lost & np.array([name == group for name in self.groups])
        return np.where(hidden, np.float32(0), events)

    def _batch(self, rows: NDArray[np.int64], events: Floats32) -> Batch:
        s = self.samples
        batch: dict[str, NDArray[Any]] = {
            "tokens": s.tokens[rows],
            "stamps": s.stamps[rows],
            "prefix": s.prefix[rows],
        }
        if self.channels is None:
            batch["marked"] = np.zeros(s.tokens[rows].shape[:2], np.bool_)
        else:
            # What an event is does not depend on what is hidden.
            batch["marked"] = self.channels.marked(s.events[rows])
            batch["events"] = self.channels.inputs(events, s.context)
        return batch
