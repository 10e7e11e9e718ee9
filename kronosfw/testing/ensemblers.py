"""The contract of an ensembler."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from ..interfaces import Ensembler, EnsemblerConfig
from ..types import Forecast, Window
from .base import ComponentContract
from .forecasters import assert_equal, check_forecast
from .market import SmallMarket, cutoff_at

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)


class EnsemblerContract(ComponentContract):
    """A combination lies among its members, whatever their order, and copes with missing ones."""

    kind = "ensembler"
    rtol: ClassVar[float] = 1e-3
    """How far the combination of equal members may lie from them, relative to the width of the envelope."""

    @pytest.fixture
    def ensembler(self, options: EnsemblerConfig) -> Ensembler:
        return options.build()

    @pytest.fixture
    def window(self) -> Window:
        market = SmallMarket.make(n_symbols=1, n=200)
        return market.windows(cutoff_at(market.bars["S0"].times, 150), context=100)[0]

    def member(self, ensembler: Ensembler, window: Window, name: str, shift: float, width: float) -> Forecast:
        """Return a member's forecast: a logistic distribution around the last close."""
        levels = np.array(ensembler.member_levels(LEVELS))
        steps = np.sqrt(np.arange(1, window.horizon + 1))[:, None]
        returns = shift + width * steps * np.log(levels / (1 - levels))
        return replace(window.forecast(levels.tolist(), window.bars.close[-1] * np.exp(returns)), model=name)

    @pytest.fixture
    def members(self, ensembler: Ensembler, window: Window) -> list[Forecast]:
        return [
            self.member(ensembler, window, "calm", 0.00, 0.005),
            self.member(ensembler, window, "wild", 0.01, 0.020),
            self.member(ensembler, window, "bear", -0.02, 0.010),
        ]

    def test_asks_for_the_levels_it_is_asked_for(self, ensembler: Ensembler) -> None:
        levels = list(ensembler.member_levels(LEVELS))
        assert levels == sorted(set(levels))
        assert set(LEVELS) <= set(levels)

    def test_lies_among_its_members(self, ensembler: Ensembler, window: Window, members: list[Forecast]) -> None:
        combined = ensembler.combine(window, members, LEVELS)
        check_forecast(combined, window, LEVELS)
        every = np.stack([m.at(LEVELS) for m in members])
        slack = self.rtol * (every.max(axis=0) - every.min(axis=0)) + 1e-9
        assert (combined.at(LEVELS) >= every.min(axis=0) - slack).all()
        assert (combined.at(LEVELS) <= every.max(axis=0) + slack).all()

    def test_equal_members_are_left_as_they_are(self, ensembler: Ensembler, window: Window) -> None:
        one = self.member(ensembler, window, "a", 0.0, 0.01)
        twins = [one, replace(one, model="b")]
        width = np.ptp(one.at(LEVELS), axis=1).max()
        for members in ([one], twins):
            combined = ensembler.combine(window, members, LEVELS)
            np.testing.assert_allclose(combined.at(LEVELS), one.at(LEVELS), rtol=0, atol=self.rtol * width)

    def test_order_of_members_does_not_matter(
        self, ensembler: Ensembler, window: Window, members: list[Forecast]
    ) -> None:
        combined = ensembler.combine(window, members, LEVELS)
        assert_equal([ensembler.combine(window, members[::-1], LEVELS)], [combined], rtol=1e-12)

    def test_missing_members_are_done_without(
        self, ensembler: Ensembler, window: Window, members: list[Forecast]
    ) -> None:
        for i in range(len(members)):
            check_forecast(ensembler.combine(window, members[i:], LEVELS), window, LEVELS)

    def test_same_inputs_give_the_same_numbers(
        self, options: EnsemblerConfig, ensembler: Ensembler, window: Window, members: list[Forecast]
    ) -> None:
        before = [m.quantiles.tobytes() for m in members]
        combined = ensembler.combine(window, members, LEVELS)
        assert_equal([options.build().combine(window, members, LEVELS)], [combined])
        assert [m.quantiles.tobytes() for m in members] == before
