"""Speed of the standard encoder, the host's cutting of facts and leaders included.

    python benchmarks/encoders.py [FOLDER]

The calendar is FOLDER/calendar/high_impact_events.csv where that is, else the simulated one. A window is cut from
512 daily bars of XNYS with four leaders; a training encodes ten years of hourly bars around the clock, once for the
bars themselves and once for each step of the horizon, as known that many bars before.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kronosfw.builtin.encoders import Macro20
from kronosfw.builtin.feeds import CsvFeed
from kronosfw.builtin.simulated import SimulatedFeed
from kronosfw.calendars import calendar
from kronosfw.testing.market import random_bars
from kronosfw.types import Fact, Span, moment
from kronosfw.windows import Cutter, encoded

CONTEXT, HORIZON, RUNS = 512, 5, 30
MARKETS = {"BTCUSDT": "24/7", "SPY": "XNYS", "DXY": "24/5", "VIX": "XNYS"}


def facts(folder: Path) -> list[Fact]:
    """Return the facts of the real calendar, or of a simulated one."""
    path = folder / "calendar" / "high_impact_events.csv"
    feed: Any = (CsvFeed(calendar=path) if path.exists() else SimulatedFeed()).build()
    return [fact for fact in feed.facts((), Span(moment("2100-01-01"))) if isinstance(fact, Fact)]


def milliseconds(work: Callable[[], object]) -> float:
    """Return the median CPU time of a call."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    """Print both tables."""
    told = facts(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "shared" / "data")
    encoder = Macro20().build()
    leaders = {name: random_bars(name, 1000, market=market) for name, market in MARKETS.items()}
    cutter = Cutter("1d", CONTEXT, HORIZON, 0, [encoder], told, leaders)
    bare = Cutter("1d", CONTEXT, HORIZON)
    bars = random_bars("S", 650, market="XNYS")
    cut, alone = (
        milliseconds(lambda c=c: c.window(bars, bars.times.available_at[-1], asset_class="equity", market="XNYS"))
        for c in (cutter, bare)
    )
    print(f"{len(told):,} facts; a window of {CONTEXT} bars: {cut:.2f} ms, without events {alone:.2f} ms")

    grid = calendar("24/7").grid(moment("2016-01-01"), moment("2025-12-31"), "1h")
    hourly = {name: random_bars(name, 40_000, freq="1h") for name in MARKETS}
    known = cutter.ledger.known("S", grid.available_at[-1])
    start = time.process_time()
    for k in range(HORIZON + 1):
        as_of = np.append(np.repeat(grid.available_at[0], k), grid.available_at[: len(grid) - k])
        encoded([encoder], known, hourly, grid, as_of)
    seconds = time.process_time() - start
    rows = (HORIZON + 1) * len(grid)
    print(f"training: {rows:,} rows in {HORIZON + 1} passes, {seconds:.2f} s, {rows / seconds:,.0f} rows/s")


if __name__ == "__main__":
    main()
