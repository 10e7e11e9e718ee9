"""The simulated world: every symbol's path, from the options alone."""

from __future__ import annotations

from datetime import timedelta
from functools import cache, lru_cache, partial

import numpy as np

from kronosfw.types import Floats

from . import SimulatedFeed
from .clock import Clock, clock
from .effects import Effects, follow, release_effects
from .paths import Path, Truth, path
from .randomness import Draw, Shocks, common_normal, generator, log_volatility, student_shocks
from .releases import RULES, Release, earnings_of, releases

_SCHEDULED_AHEAD = timedelta(days=366)


class World:
    """Simulates from the first day to the last, whatever is asked for, so that a bar is always the same.

    Frequencies are worlds of their own: hourly bars do not add up to the daily ones. Releases are the same.
    """

    def __init__(self, options: SimulatedFeed) -> None:
        self._options = options
        self.instruments = options.instruments()
        self._clock = cache(self._make_clock)
        self._leader_shocks = lru_cache(maxsize=len(options.leaders))(self._shocks)
        self._last_day = options.end + _SCHEDULED_AHEAD
        self.macro = [
            release
            for rule in RULES
            if rule.kind in options.releases
            for release in releases(rule, options.seed, options.start, self._last_day)
        ]

    def earnings(self, symbol: str) -> list[Release]:
        """Return the reports of a company, none for other instruments."""
        o = self._options
        if "earnings" not in o.releases or not self.instruments[symbol].earnings:
            return []
        return releases(earnings_of(symbol, o.seed), o.seed, o.start, self._last_day, symbol)

    def path(self, symbol: str, freq: str) -> Path:
        """Return all bars of a symbol."""
        o, instrument = self._options, self.instruments[symbol]
        draw, clock = self._draw(symbol, freq), self._clock(instrument.market, freq)
        usual = instrument.daily_volatility * np.exp(
            log_volatility(draw, len(clock.times), o.persistence**clock.step, o.volatility_of_volatility)
        )
        sigma = usual * np.sqrt(clock.share)
        effects = self._effects(symbol, clock, sigma)
        scale = sigma * effects.volatility
        lead, own = self._lead(symbol, clock, freq)
        shocks = self._shocks(symbol, freq)
        truth = Truth(
            times=clock.times,
            sigma=sigma,
            noise=scale * own * shocks.value,
            lead=scale * lead,
            gap=self._gap(symbol, clock, usual, freq) * effects.gap_volatility + effects.gap_move,
            effects=effects,
        )
        return path(instrument, clock, truth, (scale * own) ** 2 * shocks.variance, draw)

    def _draw(self, symbol: str, freq: str) -> Draw:
        return partial(generator, self._options.seed, symbol, freq)

    def _make_clock(self, market: str, freq: str) -> Clock:
        return clock(market, freq, self._options.start, self._options.end)

    def _shocks(self, symbol: str, freq: str) -> Shocks:
        o, instrument = self._options, self.instruments[symbol]
        cells = self._clock(instrument.market, freq).cell
        factor = instrument.loading * common_normal(generator(o.seed, "common", freq), cells)
        return student_shocks(self._draw(symbol, freq), factor, o.common, o.tails)

    def _lead(self, symbol: str, clock: Clock, freq: str) -> tuple[Floats, Floats]:
        """Return what the leader adds to each shock ``[T]``, and the weight of the symbol's own ``[T]``."""
        o, instrument = self._options, self.instruments[symbol]
        leader = o.leaders.get(instrument.asset_class)
        if leader is None or symbol in o.leaders.values():
            return np.zeros(len(clock.times)), np.ones(len(clock.times))
        times = self._clock(self.instruments[leader].market, freq).times
        shock, news = follow(clock.times, times, self._leader_shocks(leader, freq).value)
        same_way = instrument.direction * self.instruments[leader].direction
        return o.lead * same_way * shock, np.sqrt(1 - np.where(news, o.lead, 0.0) ** 2)

    def _gap(self, symbol: str, clock: Clock, usual: Floats, freq: str) -> Floats:
        """Return the log return while the market was shut before each bar ``[T]``, without events."""
        o, shut = self._options, clock.shut > 0
        gap = np.zeros(len(shut))
        if shut.any():
            common = common_normal(generator(o.seed, "common gap", freq), clock.day[shut])
            own = self._draw(symbol, freq)("gap").standard_normal(len(common))
            factor = np.sqrt(o.common) * self.instruments[symbol].loading * common
            shock = factor + np.sqrt(1 - o.common) * own
            gap[shut] = o.gap * usual[shut] * np.sqrt(clock.shut[shut]) * shock
        return gap

    def _effects(self, symbol: str, clock: Clock, sigma: Floats) -> Effects:
        o, instrument = self._options, self.instruments[symbol]
        releases = self.macro + self.earnings(symbol)
        return release_effects(
            clock.times,
            sigma,
            np.array([r.at for r in releases], "datetime64[us]"),
            np.array([r.surprise * instrument.sensitivity(r.kind) for r in releases], np.float64),
            volatility=o.event_volatility,
            move=o.event_move,
            drift=o.event_drift,
            drift_bars=o.event_drift_bars,
        )
