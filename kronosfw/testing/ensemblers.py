"""The contract of an ensembler."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
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
    among_members: ClassVar[bool] = True
    """Whether a combination lies among its members, as it does unless it is recalibrated."""
    rows: ClassVar[int] = 200
    """Scored predictions of each member that are enough to learn from."""

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
        if not self.among_members:
            return
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
            check_forecast(combined, window, LEVELS)
            if not self.among_members:
                continue
            np.testing.assert_allclose(combined.at(LEVELS), one.at(LEVELS), rtol=0, atol=self.rtol * width)

    @pytest.mark.parametrize("rows", [0, 3, None])
    def test_learns_from_however_little_there_is(
        self, options: EnsemblerConfig, window: Window, members: list[Forecast], rows: int | None
    ) -> None:
        ensembler, again = options.build(), options.build()
        past = scored_past([m.model for m in members], self.rows if rows is None else rows)
        before = past.copy(deep=True)
        for one in (ensembler, again):
            one.fit(past, window.cutoff)
        pd.testing.assert_frame_equal(past, before)
        combined = ensembler.combine(window, members, LEVELS)
        check_forecast(combined, window, LEVELS)
        assert_equal([again.combine(window, members, LEVELS)], [combined])

    def test_order_of_the_past_does_not_matter(
        self, options: EnsemblerConfig, ensembler: Ensembler, window: Window, members: list[Forecast]
    ) -> None:
        past = scored_past([m.model for m in members], self.rows)
        shuffled = options.build()
        ensembler.fit(past, window.cutoff)
        shuffled.fit(past.sample(frac=1, random_state=0), window.cutoff)
        combined = [one.combine(window, members, LEVELS) for one in (ensembler, shuffled)]
        assert_equal(combined[:1], combined[1:], rtol=1e-9)

    def test_what_it_has_learned_survives_the_store(
        self, options: EnsemblerConfig, ensembler: Ensembler, window: Window, members: list[Forecast]
    ) -> None:
        if not hasattr(ensembler, "state"):
            return
        past = scored_past([m.model for m in members], self.rows)
        ensembler.fit(past, window.cutoff)
        assert ensembler.state() is not None, f"learns nothing from {self.rows} rows: give `rows` more"
        text = json.dumps(ensembler.state(), allow_nan=False)
        restored: Any = options.build()
        restored.restore(json.loads(text))
        restored.fit(past, window.cutoff)
        assert json.loads(json.dumps(restored.state())) == json.loads(text)
        combined = [one.combine(window, members, LEVELS) for one in (ensembler, restored)]
        assert_equal(combined[:1], combined[1:])
        assert combined[0].event_context == combined[1].event_context

    def test_what_is_no_state_of_its_own_is_refused(self, ensembler: Ensembler) -> None:
        if hasattr(ensembler, "restore"):
            with pytest.raises(ValueError, match=r"\S"):
                ensembler.restore({"no": "such"})

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


def scored_past(models: Sequence[str], rows: int) -> pd.DataFrame:
    """Return what an ensembler is given to learn from: predictions of each model, and what came of them."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2020-01-01", periods=rows, tz="UTC").as_unit("us")
    frames = []
    for i, model in enumerate(models):
        last = 100 * np.exp(rng.normal(0, 0.02, rows).cumsum())
        realised = last * np.exp(rng.normal(0, 0.02, rows))
        width = 0.01 * (i + 1) * last
        loss = np.abs(realised - last) / last
        frames.append(
            pd.DataFrame(
                {
                    "symbol": "S0",
                    "timeframe": "1d",
                    "as_of": days,
                    "model_name": model,
                    "model_version": "1",
                    "step": 1,
                    "asset_class": "crypto",
                    "target_time": days,
                    "target_available_at": days + pd.Timedelta(days=1),
                    "session": days.tz_localize(None),
                    "p10": last - width,
                    "p50": last,
                    "p90": last + width,
                    "quantiles": None,
                    "last_close": last,
                    "event_context": None,
                    "seed": 0,
                    "run_id": "r",
                    "created_at": days,
                    "realised": realised,
                    "realised_at": days + pd.Timedelta(days=1),
                    "abs_error": loss,
                    "pinball": loss / 2,
                    "crps": loss,
                    "covered": np.abs(realised - last) < width,
                    "pit": rng.uniform(0.1, 0.9, rows),
                    "direction_hit": None,
                    "event_active": False,
                    "regime": "normal",
                    "scored_at": days + pd.Timedelta(days=1),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
