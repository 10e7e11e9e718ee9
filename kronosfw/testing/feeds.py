"""The contract of a feed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from ..errors import SymbolError
from ..interfaces import Feed, FeedConfig
from ..types import Fact, Span, moment
from .base import ComponentContract

FAR = moment("2190-01-01")
PRICES = ["open", "high", "low", "close"]


class FeedContract(ComponentContract):
    """A symbol's rows are the same whatever else is asked for, and a span is what it says."""

    kind = "feed"
    symbols: ClassVar[Sequence[str]] = ()
    """At least two symbols that the feed has."""
    freq: ClassVar[str] = "1d"

    @pytest.fixture
    def feed(self, options: FeedConfig) -> Feed:
        assert len(self.symbols) >= 2, "name at least two symbols that the feed has"
        return options.build()

    def read(self, feed: Feed, symbols: Sequence[str], span: Span) -> dict[str, pd.DataFrame]:
        """Read the symbols' frames, each of which must come once."""
        pairs = list(feed.bars(symbols, self.freq, span))
        assert sorted(s for s, _ in pairs) == sorted(symbols), "each symbol asked for must come once"
        frames = {}
        for symbol, frame in pairs:
            assert isinstance(frame, pd.DataFrame), f"{symbol} cannot be read: {frame}"
            frames[symbol] = frame
        return frames

    def facts(self, feed: Feed, span: Span) -> list[Fact]:
        """Read the facts, without what the feed found odd about them."""
        return [fact for fact in feed.facts(self.symbols, span) if isinstance(fact, Fact)]

    def test_frames_have_the_agreed_columns(self, feed: Feed) -> None:
        for frame in self.read(feed, self.symbols, Span(FAR)).values():
            assert str(frame["time"].dtype) == "datetime64[us, UTC]"
            assert all(frame[name].dtype == np.float64 for name in PRICES)
            assert len(frame) > 10, "the contract needs a few bars to look at"

    def test_a_symbol_does_not_depend_on_the_others(self, feed: Feed) -> None:
        together = self.read(feed, self.symbols, Span(FAR))
        backwards = self.read(feed, self.symbols[::-1], Span(FAR))
        for symbol in self.symbols:
            pd.testing.assert_frame_equal(self.read(feed, [symbol], Span(FAR))[symbol], together[symbol])
            pd.testing.assert_frame_equal(backwards[symbol], together[symbol])

    def test_a_new_feed_reads_the_same(self, options: FeedConfig, feed: Feed) -> None:
        first = self.read(feed, self.symbols, Span(FAR))
        for symbol, frame in self.read(options.build(), self.symbols, Span(FAR)).items():
            pd.testing.assert_frame_equal(frame, first[symbol])

    def test_spans_cut_by_time(self, feed: Feed) -> None:
        for symbol, whole in self.read(feed, self.symbols, Span(FAR)).items():
            stamps = np.sort(whole["time"].to_numpy(dtype="datetime64[us]"))
            start, end = stamps[len(stamps) // 4], stamps[len(stamps) // 2]
            inside = stamps[(stamps >= start) & (stamps <= end)]
            part = self.read(feed, [symbol], Span(end, start=start))[symbol]
            assert np.array_equal(np.sort(part["time"].to_numpy(dtype="datetime64[us]")), inside)
            last = self.read(feed, [symbol], Span(end, last=5))[symbol]
            assert np.array_equal(
                np.sort(last["time"].to_numpy(dtype="datetime64[us]")), stamps[stamps <= end][-5:]
            )

    def test_frames_belong_to_the_caller(self, feed: Feed) -> None:
        symbol = self.symbols[0]
        first = self.read(feed, [symbol], Span(FAR))[symbol]
        kept = first.copy(deep=True)
        first.loc[:, "close"] = -1.0
        pd.testing.assert_frame_equal(self.read(feed, [symbol], Span(FAR))[symbol], kept)

    def test_an_unknown_symbol_is_set_apart_and_named(self, feed: Feed) -> None:
        known = self.symbols[0]
        found = dict(feed.bars(["NO-SUCH-SYMBOL", known], self.freq, Span(FAR)))
        error = found["NO-SUCH-SYMBOL"]
        assert isinstance(error, SymbolError)
        assert "NO-SUCH-SYMBOL" in str(error)
        assert isinstance(found[known], pd.DataFrame)

    def test_facts_lie_in_the_span_and_concern_the_symbols(self, feed: Feed) -> None:
        facts = self.facts(feed, Span(FAR, start=moment("1900-01-01")))
        if not facts:
            return
        moments = sorted(f.scheduled_at for f in facts)
        start, end = moments[len(moments) // 4], moments[len(moments) // 2]
        part = self.facts(feed, Span(end, start=start))
        assert sorted(f.scheduled_at for f in part) == [m for m in moments if start <= m <= end]
        assert all(not f.symbols or set(f.symbols) & set(self.symbols) for f in facts)
