"""The contract of an event encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from ..interfaces import EncoderConfig, EventEncoder
from ..types import Moment, Times
from ..windows import complete, known
from .base import ComponentContract
from .market import KINDS, SmallMarket, cutoff_at, random_bars


class EncoderContract(ComponentContract):
    """The row of a bar holds what was known when that bar was complete, and nothing later."""

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

    def encode(self, encoder: EventEncoder, market: SmallMarket, times: Times, cutoff: Moment) -> Any:
        """Encode the market as the host does: facts and leaders cut at the cutoff."""
        leaders = {
            name: complete(
                market.leaders[name] if name in market.leaders else random_bars(name, len(times)), cutoff
            )
            for name in encoder.leaders
        }
        return np.asarray(encoder.encode(known(market.facts, "S0", cutoff), leaders, times, cutoff))

    def times(self, market: SmallMarket) -> tuple[Times, Moment]:
        """Return the bars of a window with its future, and the cutoff between them."""
        times = market.bars["S0"].times
        return times[: self.context + self.horizon], cutoff_at(times, self.context - 1)

    def test_names_its_channels(self, encoder: EventEncoder) -> None:
        assert len(encoder.names) == len(set(encoder.names)) == len(encoder.known_ahead) > 0
        assert all(isinstance(flag, bool) for flag in encoder.known_ahead)

    def test_encodes_context_and_horizon(self, encoder: EventEncoder, market: SmallMarket) -> None:
        times, cutoff = self.times(market)
        encoded = self.encode(encoder, market, times, cutoff)
        assert encoded.shape == (len(times), len(encoder.names))
        assert encoded.dtype == np.float32
        assert not np.isinf(encoded).any()
        assert np.isfinite(encoded).any(), "nothing was ever known"

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
            earlier = self.encode(encoder, market, times[: t + 1 + self.horizon], cutoff_at(times, t))
            np.testing.assert_array_equal(earlier[: t + 1], later[: t + 1])

    def test_a_row_does_not_depend_on_where_the_window_begins(
        self, encoder: EventEncoder, market: SmallMarket
    ) -> None:
        times, cutoff = self.times(market)
        whole = self.encode(encoder, market, times, cutoff)
        np.testing.assert_array_equal(self.encode(encoder, market, times[100:], cutoff), whole[100:])

    def test_the_future_holds_what_was_known_at_the_cutoff(
        self, encoder: EventEncoder, market: SmallMarket
    ) -> None:
        times, cutoff = self.times(market)
        other = market.with_another_future(cutoff)
        expected, found = (self.encode(encoder, m, times, cutoff) for m in (market, other))
        np.testing.assert_array_equal(found, expected)

    def test_works_without_facts_and_leaders(self, encoder: EventEncoder, market: SmallMarket) -> None:
        times, cutoff = self.times(market)
        encoded = np.asarray(encoder.encode([], {}, times, cutoff))
        assert encoded.shape == (len(times), len(encoder.names))
        assert not np.isinf(encoded).any()

    def test_inputs_are_not_changed_and_numbers_stay(self, encoder: EventEncoder, market: SmallMarket) -> None:
        times, cutoff = self.times(market)
        facts = list(market.facts)
        first, second = (self.encode(encoder, market, times, cutoff) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert list(market.facts) == facts

    def moments(self) -> Sequence[int]:
        """Return the bars after which the future is changed."""
        return tuple(range(60, self.context, 3))
