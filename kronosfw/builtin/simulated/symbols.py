"""The instruments of the simulated market and how each asset class behaves."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from pydantic import Field

from kronosfw.config import CALENDARS, Section

AssetClass = Literal["crypto", "forex", "commodity", "equity"]
ReleaseKind = Literal["cpi", "nfp", "fomc", "gdp", "pce", "earnings"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the members of an asset class have in common."""

    volatility: float
    """Root mean square of the log return of a full session."""
    loading: float
    """Sign with which the common factor moves prices."""
    sensitivity: tuple[float, float, float, float, float, float]
    """Sign with which a surprise moves prices, in the order of ReleaseKind."""


BEHAVIOUR = MappingProxyType(
    {
        #                          per day  factor   cpi   nfp  fomc   gdp   pce  earnings
        "crypto": Behaviour(0.03, +1.0, (-1.0, -1.0, -1.0, +1.0, -1.0, +1.0)),
        "forex": Behaviour(0.0045, -1.0, (+1.0, +1.0, +1.0, +1.0, +1.0, +1.0)),
        "commodity": Behaviour(0.01, +1.0, (-1.0, -1.0, -1.0, +1.0, -1.0, +1.0)),
        "equity": Behaviour(0.009, +1.0, (-1.0, +1.0, -1.0, +1.0, -1.0, +1.0)),
    }
)
"""Forex stands for the dollar: it rises on strong or hawkish figures and falls when the others rise."""


class SimulatedSymbol(Section):
    """An instrument of the simulated market."""

    asset_class: AssetClass = Field(description="Sets volatility, leader, common factor and reaction to surprises.")
    calendar: str | None = Field(
        None, description="Trading calendar; as in `universe`, the asset class has one unless given."
    )
    price: float = Field(100.0, gt=0, description="First opening price.")
    volatility: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Volatility of the log return of a full session; the class's unless given.",
    )
    inverse: bool = Field(
        False, description="Moves against its class: common factor, leader and surprises change their sign."
    )
    reversion: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the log distance from the first price that is lost in a session.",
    )
    earnings: bool = Field(False, description="Whether the company reports earnings each quarter.")

    @property
    def market(self) -> str:
        """Name of the trading calendar."""
        return self.calendar or CALENDARS[self.asset_class]

    @property
    def daily_volatility(self) -> float:
        """Root mean square of the log return of a full session."""
        return self.volatility or BEHAVIOUR[self.asset_class].volatility

    @property
    def direction(self) -> float:
        """−1 for an instrument that moves against its class, else 1."""
        return -1.0 if self.inverse else 1.0

    @property
    def loading(self) -> float:
        """Sign with which the common factor moves the price."""
        return self.direction * BEHAVIOUR[self.asset_class].loading

    def sensitivity(self, kind: ReleaseKind) -> float:
        """Return the sign with which a surprise of this kind moves the price."""
        signs = BEHAVIOUR[self.asset_class].sensitivity
        return self.direction * signs[get_args(ReleaseKind).index(kind)]


def synthetic(count: int) -> dict[str, SimulatedSymbol]:
    """Return ``count`` instruments of each asset class, CRYPTO0001 and so on; equities report earnings."""
    return {
        f"{name.upper()}{i:04d}": SimulatedSymbol(asset_class=name, earnings=name == "equity")
        for name in get_args(AssetClass)
        for i in range(1, count + 1)
    }


SYMBOLS = MappingProxyType(
    {
        "BTCUSDT": SimulatedSymbol(asset_class="crypto", price=30_000),
        "ETHUSDT": SimulatedSymbol(asset_class="crypto", price=1_800, volatility=0.037),
        "SOLUSDT": SimulatedSymbol(asset_class="crypto", price=60, volatility=0.05),
        "EURUSD": SimulatedSymbol(asset_class="forex", price=1.1, inverse=True),
        "USDJPY": SimulatedSymbol(asset_class="forex", price=130, volatility=0.005),
        "DXY": SimulatedSymbol(asset_class="forex", volatility=0.004),
        "GLD": SimulatedSymbol(asset_class="commodity", calendar="XNYS", price=170, volatility=0.008),
        "USO": SimulatedSymbol(asset_class="commodity", calendar="XNYS", price=70, volatility=0.018),
        "SPY": SimulatedSymbol(asset_class="equity", price=400),
        "QQQ": SimulatedSymbol(asset_class="equity", price=350, volatility=0.011),
        "AAPL": SimulatedSymbol(asset_class="equity", price=150, volatility=0.014, earnings=True),
        "MSFT": SimulatedSymbol(asset_class="equity", price=300, volatility=0.013, earnings=True),
        "VIX": SimulatedSymbol(asset_class="equity", price=18, volatility=0.055, inverse=True, reversion=0.08),
    }
)
"""The instruments that exist without any configuration. The commodities are funds listed in New York."""
