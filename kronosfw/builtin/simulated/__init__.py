"""A feed that simulates markets with a known truth: its options.

``SimulatedFeed().build().truth("SPY", "1d")`` returns what the bars are made of, for tests that ask whether a
model found it.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from kronosfw.interfaces import FeedConfig

from .symbols import SYMBOLS, AssetClass, ReleaseKind, SimulatedSymbol, synthetic

if TYPE_CHECKING:
    from .feed import SimulatedMarket

__all__ = ["SimulatedFeed", "SimulatedSymbol"]


class SimulatedFeed(FeedConfig):
    """Simulated markets whose truth is known: no data needed, the same numbers each time."""

    model_config = ConfigDict(allow_inf_nan=False)

    type: Literal["simulated"] = "simulated"
    seed: int = Field(0, ge=0, lt=2**63, description="Another seed is another world.")
    start: date = Field(date(2019, 1, 1), ge=date(1950, 1, 1), description="First day of the simulated world.")
    end: date = Field(
        date(2025, 6, 30),
        le=date(2150, 12, 31),
        description="Last day of the bars; releases are scheduled a year beyond.",
    )
    symbols: dict[str, SimulatedSymbol] = Field(
        default_factory=dict,
        description="Further instruments, or other properties for the built-in ones: "
        f"{', '.join(SYMBOLS)}. GLD, USO and VIX keep the hours of XNYS.",
    )
    count: int = Field(
        0, ge=0, le=10_000, description="Synthetic instruments of each asset class, CRYPTO0001 and so on."
    )
    common: float = Field(
        0.25, ge=0, le=1, description="Share of the variance of shocks that comes from the common factor."
    )
    tails: float = Field(
        5.0, gt=2, le=1e6, description="Degrees of freedom of the shocks' Student t; fewer, heavier tails."
    )
    persistence: float = Field(
        0.95,
        ge=0,
        lt=1,
        description="First-order autocorrelation of log volatility from a session to the next.",
    )
    volatility_of_volatility: float = Field(0.35, ge=0, le=2, description="Standard deviation of log volatility.")
    gap: float = Field(
        0.5,
        ge=0,
        le=10,
        description="Volatility of a day with the market shut over that of a session with it open.",
    )
    leaders: dict[AssetClass, str] = Field(
        default={"crypto": "BTCUSDT", "equity": "SPY", "forex": "DXY"},
        description="For each asset class the symbol that the others follow.",
    )
    lead: float = Field(
        0.2, ge=0, le=1, description="Share of the leader's last completed shock in a follower's next one."
    )
    releases: tuple[ReleaseKind, ...] = Field(get_args(ReleaseKind), description="Kinds of release that happen.")
    event_volatility: float = Field(
        2.0, gt=0, le=100, description="Factor on the volatility of the bar into which a release falls."
    )
    event_move: float = Field(
        0.5,
        ge=-100,
        le=100,
        description="Move in the release bar, in units of its usual volatility, per unit of surprise.",
    )
    event_drift: float = Field(
        0.5, ge=-100, le=100, description="Further move after the release bar, in the same units."
    )
    event_drift_bars: int = Field(3, ge=1, le=1000, description="Bars over which the drift is spread evenly.")
    missing: float = Field(0.0, ge=0, lt=1, description="Share of bars left out at random.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"`end` ({self.end}) lies before `start` ({self.start})")
        unknown = sorted(set(self.leaders.values()) - set(self.instruments()))
        if unknown:
            raise ValueError(f"`leaders` names {', '.join(unknown)}, which `symbols` lacks")
        return self

    def instruments(self) -> dict[str, SimulatedSymbol]:
        """Return every instrument of this market by its symbol."""
        return {**SYMBOLS, **synthetic(self.count), **self.symbols}

    def build(self) -> SimulatedMarket:
        from .feed import SimulatedMarket

        return SimulatedMarket(self)
