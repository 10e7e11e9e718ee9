"""What kind of event a calendar's entry is, under one short name for all sources."""

from __future__ import annotations

import re
from collections.abc import Mapping

KINDS: Mapping[str, tuple[str, ...]] = {
    "cpi": ("USD CPI m/m", "USD cpi", "USD CPI y/y"),
    "core_cpi": ("USD Core CPI m/m",),
    "nfp": ("USD Non-Farm Employment Change", "USD nfp"),
    "fomc": ("USD Federal Funds Rate", "USD fomc_decision", "USD FOMC Statement", "USD fomc_intermeeting"),
    "fomc_minutes": ("USD FOMC Meeting Minutes", "USD fomc_minutes"),
    "gdp": ("USD Advance GDP q/q",),
    "pce": ("USD Core PCE Price Index m/m",),
    "ppi": ("USD PPI m/m", "USD ppi"),
    "rate_decision": (
        "AUD Cash Rate",
        "CAD Overnight Rate",
        "CHF SNB Policy Rate",
        "CNY 1-y Loan Prime Rate",
        "EUR Main Refinancing Rate",
        "GBP Official Bank Rate",
        "JPY BOJ Policy Rate",
        "NZD Official Cash Rate",
        "AUD RBA Rate Statement",
        "CAD BOC Rate Statement",
        "CHF SNB Monetary Policy Assessment",
        "EUR Monetary Policy Statement",
        "GBP Monetary Policy Summary",
        "JPY Monetary Policy Statement",
        "NZD RBNZ Rate Statement",
    ),
}
"""Kind → currency and name of the entries it may stand under.

Of several entries of one currency on one day that mean the same release, the one named first here counts; the
others go by a name of their own. So the headline figure stands for the release, and where a source lacks it,
the next best (the statement without the rate, the yearly rate of inflation without the monthly one).
"""

MARKET_MOVERS = frozenset({"cpi", "nfp", "fomc", "gdp", "pce", "ppi"})
"""Kinds of high importance, for sources that do not tell."""

_UNSCHEDULED = re.compile(r"intermeeting|emergency|announcement|\b(speaks|testifies)\b", re.IGNORECASE)


class Kinds:
    """The table above with a user's own entries (currency and name → kind) in front."""

    def __init__(self, extra: Mapping[str, str]) -> None:
        entries = list(extra.items())
        entries += [(entry, kind) for kind, names in KINDS.items() for entry in names]
        self._ranked: dict[str, tuple[str, int]] = {}
        for rank, (entry, kind) in enumerate(entries):
            self._ranked.setdefault(entry.strip().casefold(), (kind, rank))

    def known(self, entry: str) -> tuple[str, int] | None:
        """Return the kind and the rank (lower counts first) of an entry in the table, else None."""
        return self._ranked.get(entry.casefold())


def own_name(entry: str) -> str:
    """Return the kind of an entry that no table knows, such as ``usd_ism_manufacturing_pmi``."""
    return re.sub(r"[^a-z0-9]+", "_", entry.casefold()).strip("_")


def is_unscheduled(name: str) -> bool:
    """Tell whether an event of this name is on nobody's calendar until it happens."""
    return _UNSCHEDULED.search(name) is not None
