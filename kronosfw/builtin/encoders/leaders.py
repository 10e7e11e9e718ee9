"""The encoder ``leaders`` at work."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ...types import Bars, Fact, Moments, Times
from . import Leaders
from .following import joined, log_returns, news


class LeadersEncoder:
    """A log return for each leader, unknown where its market was shut, and the share of leaders of which it was."""

    def __init__(self, options: Leaders) -> None:
        lag = f"_{options.bars}" if options.bars > 1 else ""
        stems = [re.sub(r"[^a-z0-9]+", "_", symbol.lower()) for symbol in options.symbols]
        channels = [*(f"{stem}_log_return" for stem in stems), "closed_share"]
        self.leaders = options.symbols
        self.names = tuple(f"{options.prefix}{channel}{lag}" for channel in channels)
        self.known_ahead = (False,) * len(channels)
        self.groups = ("leaders",) * len(channels)
        self.lookback = options.bars + 1
        self._span = options.bars

    def encode(
        self, facts: Sequence[Fact], leaders: Mapping[str, Bars], times: Times, known_at: Moments
    ) -> NDArray[np.float32]:
        """Return ``[N, E]``, as ``EventEncoder`` says."""
        rows = np.full((len(times), len(self.names)), np.nan, dtype=np.float32)
        shut = np.ones((len(self.leaders), len(times)), dtype=np.bool_)
        for i, symbol in enumerate(self.leaders):
            if symbol in leaders:
                last = news(times, known_at, leaders[symbol].times)
                rows[:, i] = joined(log_returns(leaders[symbol], self._span), last)
                shut[i] = last < 0
        rows[:, -1] = shut.mean(axis=0)
        return rows
