"""Data checks: from the frame a feed gave to bars that can be trusted, and a report of what was found.

Each check has a policy in the configuration (``checks``): refuse the symbol, repair it and say so, or accept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .calendars import Calendar
from .config import Checks
from .errors import SymbolError
from .types import Bars, Finding, Moment, Times

if TYPE_CHECKING:
    import pandas as pd

PRICES = ("open", "high", "low", "close")
TRADED = ("volume", "amount")
_HARMLESS = {"after_cutoff", "mixed_zones", "unsorted", "bad_volume"}
"""Repairs that do not count towards ``max_repaired``: they drop or change no price."""
_DONE = {"refuse": "refused", "repair": "repaired", "accept": "accepted"}


@dataclass(slots=True)
class DataReport:
    """What is known about one symbol's data."""

    symbol: str
    rows: int = 0
    """Rows the feed gave."""
    bars: int = 0
    """Bars left for the models."""
    first: Moment | None = None
    last: Moment | None = None
    findings: list[Finding] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "symbol": self.symbol,
            "rows": self.rows,
            "bars": self.bars,
            "first": None if self.first is None else f"{self.first}Z",
            "last": None if self.last is None else f"{self.last}Z",
            "findings": [
                {"check": f.check, "action": f.action, "count": f.count, "detail": f.detail} for f in self.findings
            ],
        }


@dataclass(frozen=True, slots=True)
class Extent:
    """How many bars there are, and when the first and the last of them opened."""

    bars: int
    first: Moment | None
    last: Moment | None

    @classmethod
    def of(cls, bars: Bars) -> Extent:
        opens = bars.times.time
        return cls(len(bars), *((opens[0], opens[-1]) if len(bars) else (None, None)))


class Inspection:
    """The checks of one symbol, and the report that grows as they go."""

    def __init__(self, symbol: str, market: Calendar, freq: str, checks: Checks) -> None:
        self.report = DataReport(symbol)
        self._symbol, self._market, self._freq, self._checks = symbol, market, freq, checks
        self._touched = 0

    def bars(self, frame: pd.DataFrame | SymbolError | None, until: Moment) -> Bars:
        """Return the bars complete by ``until``, at least one; raises SymbolError if a check refuses the symbol."""
        if isinstance(frame, SymbolError):
            raise frame
        if frame is None:
            raise SymbolError(f"{self._symbol}: the feed gave nothing")
        stamps, values, columns = self._arrays(frame)
        self.report.rows = len(stamps)
        offsets = frame.attrs.get("offsets", ())
        if len(offsets) > 1:
            self._found("mixed_zones", len(offsets), f"UTC offsets {', '.join(offsets)}")

        unknown = np.isnat(stamps)
        if unknown.any():
            self._found("nonfinite", int(unknown.sum()), "no time")
        late = stamps > until
        stamps, values = stamps[~unknown & ~late], values[~unknown & ~late]
        if not len(stamps):
            raise SymbolError(f"{self._symbol}: the feed has no bars by {_show(until)}")
        labels: Literal["open", "close"] = "close" if frame.attrs.get("stamp") == "close" else "open"
        positions, grid = self._market.match(stamps, self._freq, labels)
        under_way = (positions >= 0) & (grid.available_at[positions] > until)
        count = int(late.sum() + (under_way & (grid.time[positions] < until)).sum())
        if count:
            self._found("after_cutoff", count, f"not complete by {_show(until)}")
        stamps, positions, values = stamps[~under_way], positions[~under_way], values[~under_way]
        complete = len(stamps) + int(unknown.sum())
        if (stamps[1:] < stamps[:-1]).any():
            self._found("unsorted", int((stamps[1:] < stamps[:-1]).sum()), "rows out of order")
        order = np.argsort(positions, kind="stable")
        stamps, positions, values = stamps[order], positions[order], values[order]
        positions, values = self._on_calendar(stamps, positions, values)
        positions, values = self._sound(grid, positions, values)
        self._volume(grid, positions, values, columns)
        self._gaps(grid, positions)
        if self._touched > self._checks.max_repaired * complete:
            raise SymbolError(
                f"{self._symbol}: {self._touched} of {complete} rows needed repair "
                f"({self._list()}), more than checks.max_repaired = {self._checks.max_repaired:g} allows"
            )
        if not len(positions):
            raise SymbolError(f"{self._symbol}: no bar is complete by {_show(until)}")
        return Bars(self._symbol, grid[positions], values, columns)

    def history(self, extent: Extent, cutoff: Moment) -> None:
        """Check that bars reach up to the cutoff and are enough; raises SymbolError if not."""
        n, report = extent.bars, self.report
        report.bars, report.first, report.last = n, extent.first, extent.last
        if extent.last is not None:
            missing = len(self._market.since(extent.last, cutoff, self._freq))
            if missing > self._checks.max_stale:
                self._found("stale", missing, f"the last bar opened {_show(extent.last)}")
        if n < self._checks.min_history:
            self._found("short_history", n, f"{n} bars, checks.min_history is {self._checks.min_history}")

    def _arrays(self, frame: pd.DataFrame) -> tuple[NDArray[Any], NDArray[np.float64], tuple[str, ...]]:
        """Return the frame as stamps, values ``[T, C]`` and columns, prices first."""
        have = list(frame.columns)
        lacking = [name for name in ("time", *PRICES) if name not in have]
        if lacking:
            raise SymbolError(f"{self._symbol}: the feed gave no column {', '.join(lacking)}")
        traded = [name for name in TRADED if name in have]
        columns = (*PRICES, *traded, *sorted(set(have) - {"time", *PRICES, *TRADED}))
        try:
            stamps = frame["time"].to_numpy(dtype="datetime64[us]")
            values = np.column_stack([frame[name].to_numpy(dtype=np.float64) for name in columns])
        except (TypeError, ValueError) as error:
            raise SymbolError(f"{self._symbol}: the feed gave a column that is not numeric: {error}") from None
        return stamps, values, columns

    def _on_calendar(self, stamps: Any, positions: Any, values: Any) -> tuple[Any, Any]:
        """Drop rows that belong to no bar and all but the last of several for one bar."""
        off = positions < 0
        if off.any():
            when = _show(stamps[off][0])
            self._found("off_calendar", int(off.sum()), f"{self._market.name} has no such bar, first {when}")
            positions, values = positions[~off], values[~off]
        again = positions[:-1] == positions[1:]
        if again.any():
            when = _show(stamps[~off][:-1][again][0])
            self._found("duplicates", int(again.sum()), f"several rows for one bar, first {when}")
            keep = np.append(~again, True)
            positions, values = positions[keep], values[keep]
        return positions, values

    def _sound(self, grid: Times, positions: Any, values: Any) -> tuple[Any, Any]:
        """Check the prices: finite, positive, high and low outermost."""
        for check, detail in (
            ("nonfinite", "NaN or infinite prices"),
            ("nonpositive", "prices of 0 or less"),
        ):
            prices = values[:, :4]
            bad = ~np.isfinite(prices) if check == "nonfinite" else prices <= 0
            rows = bad.any(axis=1)
            if rows.any() and self._found(check, int(rows.sum()), detail, grid.time[positions[rows]]):
                positions, values = positions[~rows], values[~rows]
        prices = values[:, :4]
        top, bottom = prices.max(axis=1), prices.min(axis=1)
        rows = (prices[:, 1] < top) | (prices[:, 2] > bottom)
        if rows.any() and self._found(
            "impossible", int(rows.sum()), "high or low not the outermost price", grid.time[positions[rows]]
        ):
            values[rows, 1], values[rows, 2] = top[rows], bottom[rows]
        return positions, values

    def _volume(self, grid: Times, positions: Any, values: Any, columns: tuple[str, ...]) -> None:
        for name in TRADED:
            if name in columns:
                column = values[:, columns.index(name)]
                bad = ~(np.isfinite(column) & (column >= 0))
                if bad.any() and self._found(
                    "bad_volume", int(bad.sum()), f"{name} negative or not finite", grid.time[positions[bad]]
                ):
                    column[bad] = 0.0

    def _gaps(self, grid: Times, positions: Any) -> None:
        holes = np.diff(positions) - 1
        if holes.any():
            first = grid.time[positions[:-1][holes > 0][0] + 1]
            self._found("gaps", int(holes.sum()), f"bars the calendar expects, first {_show(first)}")

    def _found(self, check: str, count: int, detail: str, where: Any = ()) -> bool:
        """Note a finding and tell whether to repair it; raises SymbolError where the policy is to refuse."""
        policy = getattr(self._checks, check)
        if len(where):
            detail = f"{detail}, first {_show(where[0])}"
        self.report.findings.append(Finding(check, _DONE[policy], count, detail))
        if policy == "refuse":
            raise SymbolError(f"{self._symbol}: {check.replace('_', ' ')}: {count} ({detail})")
        repair = bool(policy == "repair")
        if repair and check not in _HARMLESS:
            self._touched += count
        return repair

    def _list(self) -> str:
        return ", ".join(f"{f.check} {f.count}" for f in self.report.findings if f.action == "repaired")


def _show(when: Moment) -> str:
    return str(when.astype("datetime64[m]")).replace("T", " ").removesuffix(" 00:00")
