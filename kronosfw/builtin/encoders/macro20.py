"""The encoder ``macro20`` at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ...types import Bars, Fact, Floats, Moments, Times
from . import Macro20
from .following import joined, levels, log_returns, news
from .releases import impulses, rate_moves, released, scores, surprises
from .schedule import bears, days_to, plans

FLAGS = ("fomc", "cpi", "nfp", "gdp", "pce", "earnings", "rate_decision")
LONGEST = {"fomc": 45, "cpi": 30}
"""Days to the next one from which on they all look alike."""
GROUPS = {
    **dict.fromkeys(("is_fomc", "is_cpi", "is_nfp", "is_gdp", "is_pce"), "schedule"),
    **dict.fromkeys(("cpi_surprise_z", "fomc_hawkish_score", "nfp_surprise_z"), "surprise"),
    **dict.fromkeys(("is_earnings", "is_rate_decision"), "schedule"),
    **dict.fromkeys(("days_to_fomc_sin", "days_to_fomc_cos", "days_to_cpi_sin", "days_to_cpi_cos"), "schedule"),
    **dict.fromkeys(("btc_log_return", "spy_log_return", "dxy_log_return"), "leaders"),
    "vix_level_z": "volatility",
    "next_bar_event": "schedule",
    "leaders_closed": "leaders",
}
"""The channels in their order, each with its group."""

Channels = Iterator[tuple[str, Floats]]


class MacroEncoder:
    """Schedule, surprises, leaders and volatility in 20 channels."""

    names = tuple(GROUPS)
    groups = tuple(GROUPS.values())
    known_ahead = tuple(group == "schedule" for group in groups)

    def __init__(self, options: Macro20) -> None:
        self._options = options
        named = {name: getattr(options, name) for name in ("btc", "spy", "dxy", "vix")}
        self._symbols: dict[str, str] = {name: symbol for name, symbol in named.items() if symbol is not None}
        self.leaders = tuple(dict.fromkeys(self._symbols.values()))
        self.lookback = max(options.vix_window, 2)
        self._kinds = {*FLAGS, *options.high_impact}

    def encode(
        self, facts: Sequence[Fact], leaders: Mapping[str, Bars], times: Times, known_at: Moments
    ) -> NDArray[np.float32]:
        """Return ``[N, 20]``, as ``EventEncoder`` says."""
        # Earnings concern the companies that a fact names; a mere date of some report says nothing about a symbol.
        mine = [f for f in facts if f.kind in self._kinds and (f.symbols or f.kind != "earnings")]
        channels = {
            **dict(self._schedule(mine, times, known_at)),
            **dict(self._surprises(mine, times, known_at)),
            **dict(self._leaders(leaders, times, known_at)),
        }
        return np.column_stack([channels[name] for name in self.names]).astype(np.float32)

    def _schedule(self, facts: Sequence[Fact], times: Times, known_at: Moments) -> Channels:
        """Yield flags, next_bar_event and days_to; unknown where the calendar had told nothing yet."""
        plan = plans(facts)
        silent = known_at < facts[0].known_at if facts else np.ones(len(times), dtype=np.bool_)
        for kind in FLAGS:
            yield f"is_{kind}", np.where(silent, np.nan, bears(plan.get(kind), times, known_at))
        soon = np.zeros(len(times), dtype=np.bool_)
        for kind in self._options.high_impact:
            soon |= bears(plan.get(kind), times, known_at, ahead=1)
        yield "next_bar_event", np.where(silent, np.nan, soon)
        for kind, longest in LONGEST.items():
            phase = np.pi * np.minimum(days_to(plan.get(kind), times, known_at), longest) / longest
            yield f"days_to_{kind}_sin", np.sin(phase)
            yield f"days_to_{kind}_cos", np.cos(phase)

    def _surprises(self, facts: Sequence[Fact], times: Times, known_at: Moments) -> Channels:
        options = self._options
        for kind in ("cpi", "nfp"):
            figures = released(facts, kind, "actual")
            values = surprises(figures, options.surprises, options.fewest, options.clip)
            yield f"{kind}_surprise_z", impulses(times, known_at, (figures, values))
        rates, statements = (released(facts, "fomc", name) for name in ("actual", "score"))
        moves = (rates, rate_moves(rates)), (statements, scores(statements))
        yield "fomc_hawkish_score", impulses(times, known_at, *moves)

    def _leaders(self, leaders: Mapping[str, Bars], times: Times, known_at: Moments) -> Channels:
        unknown = np.full(len(times), np.nan)
        shut = {}
        for name in ("btc", "spy", "dxy", "vix"):
            channel = "vix_level_z" if name == "vix" else f"{name}_log_return"
            bars = leaders.get(self._symbols.get(name, ""))
            if name in self._symbols:
                shut[name] = np.ones(len(times), dtype=np.bool_)
            if bars is None:
                yield channel, unknown
                continue
            rows = news(times, known_at, bars.times)
            shut[name] = rows < 0
            values = levels(bars, self._options.vix_window) if name == "vix" else log_returns(bars, 1)
            yield channel, joined(values, rows)
        yield "leaders_closed", np.mean(list(shut.values()), axis=0) if shut else unknown
