"""The contract of an event encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from ..interfaces import EncoderConfig, EventEncoder
from ..types import Moment, Moments, Times
from ..windows import complete, encoded, known
from .base import ComponentContract
from .market import KINDS, SmallMarket, cutoff_at, random_bars


class EncoderContract(ComponentContract):
    """The row of a bar holds what was known as of the moment asked for, and nothing later.

    Rows are compared as the host sees them: what is returned for the first and the last bar is dropped.
    """

    kind = "encoder"
    context: ClassVar[int] = 300
    horizon: ClassVar[int] = 5
    kinds: ClassVar[Sequence[str]] = KINDS
    """Kinds of the facts that the contract makes up; name those that the encoder looks for."""

    @pytest.fixture
    def encoder(self, options: EncoderConfig) -> EventEncoder:
        return options.build()

    @pytest.fixture(params=["24/7", "XNYS"])
    def market(self, request: pytest.FixtureRequest) -> SmallMarket:
        return SmallMarket.make(n_symbols=1, n=self.context + 40, market=request.param, kinds=self.kinds)

    def encode(
        self,
        encoder: EventEncoder,
        market: SmallMarket,
        times: Times,
        cutoff: Moment,
        *,
        known_at: Moments | None = None,
        reach: int | None = None,
    ) -> NDArray[np.float32]:
        """Encode the market as the host does: facts and leaders cut at the cutoff.

        ``known_at`` is that of a forecast unless given. Of the leaders' bars before ``times``, ``reach`` are shown,
        all unless given.
        """
        leaders = {}
        for name in encoder.leaders:
            bars = market.leaders[name] if name in market.leaders else random_bars(name, len(times))
            before = len(complete(bars, times.available_at[0]))
            leaders[name] = complete(bars, cutoff)[0 if reach is None else max(before - reach, 0) :]
        as_of = np.minimum(times.available_at, cutoff) if known_at is None else known_at
        return encoded([encoder], known(market.facts, "S0", cutoff), leaders, times, as_of)

    def times(self, market: SmallMarket) -> tuple[Times, Moment]:
        """Return the bars of a window with its future and one more, and the cutoff at which the context ends."""
        times = market.bars["S0"].times
        return times[: self.context + self.horizon + 1], cutoff_at(times, self.context - 1)

    def test_names_its_channels(self, encoder: EventEncoder) -> None:
        assert len(encoder.names) == len(set(encoder.names)) > 0
        assert len(encoder.names) == len(encoder.known_ahead) == len(encoder.groups)
        assert all(isinstance(flag, bool) for flag in encoder.known_ahead)
        assert all(isinstance(group, str) and group for group in encoder.groups)
        assert encoder.lookback >= 0

    def test_encodes_context_and_horizon(self, encoder: EventEncoder, market: SmallMarket) -> None:
        times, cutoff = self.times(market)
        rows = self.encode(encoder, market, times, cutoff)
        assert rows.shape == (len(times), len(encoder.names))
        assert not np.isinf(rows).any()
        assert np.isfinite(rows).any(), "nothing was ever known"

    def test_a_row_knows_nothing_later_than_its_bar(self, encoder: EventEncoder, market: SmallMarket) -> None:
        """Change everything that was known only after bar t: the rows up to t stay, bit for bit."""
        times, cutoff = self.times(market)
        expected = self.encode(encoder, market, times, cutoff)
        for t in self.moments():
            other = market.with_another_future(cutoff_at(times, t), seed=t)
            found = self.encode(encoder, other, times, cutoff)
            np.testing.assert_array_equal(
                found[: t + 1], expected[: t + 1], err_msg=f"row {t} or one before it depends on the future"
            )

    def test_a_later_cutoff_changes_no_earlier_row(self, encoder: EventEncoder, market: SmallMarket) -> None:
        times, cutoff = self.times(market)
        later = self.encode(encoder, market, times, cutoff)
        for t in self.moments():
            earlier = self.encode(encoder, market, times[: t + 2 + self.horizon], cutoff_at(times, t))
            np.testing.assert_array_equal(earlier[: t + 1], later[: t + 1])

    def test_a_row_does_not_depend_on_where_the_window_begins(
        self, encoder: EventEncoder, market: SmallMarket
    ) -> None:
        times, cutoff = self.times(market)
        whole = self.encode(encoder, market, times, cutoff)
        for first in self.moments()[::4]:
            part = self.encode(encoder, market, times[first:], cutoff)
            np.testing.assert_array_equal(part[1:], whole[first + 1 :])

    def test_it_sees_as_far_back_as_it_says(self, encoder: EventEncoder, market: SmallMarket) -> None:
        times, cutoff = self.times(market)
        for first in self.moments()[::8]:
            whole, part = (
                self.encode(encoder, market, times[first:], cutoff, reach=reach)
                for reach in (None, encoder.lookback)
            )
            np.testing.assert_array_equal(part, whole, err_msg=f"lookback is more than {encoder.lookback}")

    def test_a_row_as_of_an_earlier_bar_is_what_a_forecast_made_then_saw(
        self, encoder: EventEncoder, market: SmallMarket
    ) -> None:
        """Training encodes all bars at once as of the bar k places before each."""
        times, cutoff = self.times(market)
        ends = times.available_at
        for k in (1, self.horizon):
            as_of = np.minimum(np.append(np.repeat(ends[0], k), ends[:-k]), cutoff)
            rows = self.encode(encoder, market, times, cutoff, known_at=as_of)
            for t in self.moments()[::4]:
                forecast = self.encode(encoder, market, times[: t + 2 + self.horizon], cutoff_at(times, t))
                np.testing.assert_array_equal(
                    rows[t + k], forecast[t + k], err_msg=f"row {t + k} as of bar {t} knows something else"
                )

    def test_the_future_holds_what_was_known_at_the_cutoff(
        self, encoder: EventEncoder, market: SmallMarket
    ) -> None:
        times, cutoff = self.times(market)
        other = market.with_another_future(cutoff)
        expected, found = (self.encode(encoder, m, times, cutoff) for m in (market, other))
        np.testing.assert_array_equal(found, expected)

    def test_works_without_facts_and_leaders(self, encoder: EventEncoder, market: SmallMarket) -> None:
        times, cutoff = self.times(market)
        rows = encoded([encoder], [], {}, times, np.minimum(times.available_at, cutoff))
        assert rows.shape == (len(times), len(encoder.names))
        assert not np.isinf(rows).any()

    def test_inputs_are_not_changed_and_numbers_stay(self, encoder: EventEncoder, market: SmallMarket) -> None:
        times, cutoff = self.times(market)
        facts = list(market.facts)
        first, second = (self.encode(encoder, market, times, cutoff) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert list(market.facts) == facts

    def moments(self) -> Sequence[int]:
        """Return the bars after which the future is changed."""
        return tuple(range(60, self.context, 3))
