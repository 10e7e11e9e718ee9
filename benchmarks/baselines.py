"""Scores the built-in baselines on six daily series, and prints a table.

    python benchmarks/baselines.py [FOLDER] [--all]

FOLDER holds ``bars_1d/BTC.csv`` and so on, with columns date, open, high, low, close (default ../shared/data
beside the project). For each series: 75 cutoffs, five bars apart, the first at the last close before 2025;
horizons 1 to 5; levels 0.1, 0.5, 0.9. The score is 2 × the pinball loss of the log return over the mean absolute
log return of that series and horizon, averaged over horizons, then series. The interval is a bootstrap of
calendar months of the difference from the first model.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from kronosfw import metrics
from kronosfw.builtin import forecasters as f
from kronosfw.interfaces import ForecasterConfig
from kronosfw.types import Bars, Floats, Times, Window

SERIES = {"BTC": "crypto", "SPY": "equity", "DXY": "forex", "GLD": "commodity", "QQQ": "equity", "VIX": "equity"}
COLUMNS = ("open", "high", "low", "close")
LEVELS = (0.1, 0.5, 0.9)
FIRST, ORIGINS, STEP, HORIZON, CONTEXT = "2025-01-01", 75, 5, 5, 1000
MODELS = (
    f.RandomWalk(),
    f.RandomWalk(name="ewma_t5", decay=0.94, df=5),
    f.Har(),
    f.Garch(),
    f.Bootstrap(),
    f.Drift(),
    f.SeasonalNaive(),
)
SLOW = (
    f.StatsForecast(name="auto_ets"),
    f.StatsForecast(name="theta", model="theta"),
    f.StatsForecast(name="auto_arima", model="auto_arima", context=400),
)


class Series:
    """One daily series and the cutoffs in it."""

    def __init__(self, folder: Path, name: str, since: str = FIRST) -> None:
        frame = pd.read_csv(folder / "bars_1d" / f"{name}.csv").rename(columns=str.lower)
        session = pd.to_datetime(frame["date"]).to_numpy("datetime64[D]")
        opens = session.astype("datetime64[us]")
        self.name = name
        self.bars = Bars(name, Times(opens, opens + np.timedelta64(1, "D"), session), frame[list(COLUMNS)], COLUMNS)
        first = int(np.searchsorted(session, np.datetime64(since))) - 1
        self.origins = first + STEP * np.arange(ORIGINS)
        self.months = session[self.origins].astype("datetime64[M]").astype(int)
        close = np.log(self.bars.close)
        ahead = self.origins[:, None] + np.arange(1, HORIZON + 1)
        self.last = self.bars.close[self.origins]
        self.returns = close[ahead] - close[self.origins][:, None]

    def windows(self, context: int) -> list[Window]:
        """Return a window of at most ``context`` bars for each cutoff."""
        times = self.bars.times
        return [
            Window(
                bars=self.bars[max(o + 1 - context, 0) : o + 1],
                future=times[o + 1 : o + 1 + HORIZON],
                cutoff=times.available_at[o],
                freq="1d",
                asset_class=SERIES[self.name],
                seed=int(o),
            )
            for o in self.origins
        ]


def evaluate(options: ForecasterConfig, series: list[Series]) -> tuple[Floats, float, float]:
    """Return scaled losses ``[series, cutoffs]``, the coverage of p10 to p90 and milliseconds a window."""
    losses, inside, cost = evaluate_by_step(options, series)
    return losses.mean(axis=2), float(inside.mean()), cost


def evaluate_by_step(options: ForecasterConfig, series: list[Series]) -> tuple[Floats, Floats, float]:
    """Return scaled losses and coverage ``[series, cutoffs, steps]`` and milliseconds a window."""
    model = options.build()
    losses, inside, seconds = [], [], 0.0
    for one in series:
        windows = one.windows(min(options.context or CONTEXT, model.max_context or CONTEXT))
        start = time.perf_counter()
        forecasts = model.forecast(windows, LEVELS)
        seconds += time.perf_counter() - start
        quantiles = np.log(np.stack([forecast.at(LEVELS) for forecast in forecasts]) / one.last[:, None, None])
        losses.append(metrics.scaled_pinball(one.returns, quantiles, LEVELS))
        inside.append(metrics.covered(one.returns, quantiles[..., 0], quantiles[..., -1]))
    return np.array(losses), np.array(inside, dtype=float), 1000 * seconds / (len(series) * ORIGINS)


def interval(difference: Floats, months: Floats, draws: int = 4000) -> tuple[float, float]:
    """Return the 95 % interval of the mean of ``[series, cutoffs]``, resampling calendar months."""
    names, month = np.unique(months, return_inverse=True)
    month = month.reshape(months.shape)
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    weights = drawn[:, month]
    means = ((weights * difference).sum(axis=2) / weights.sum(axis=2)).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("folder", type=Path, nargs="?", default=default)
    parser.add_argument("--all", action="store_true", help="the models of statsforecast too (minutes)")
    arguments = parser.parse_args()
    if not (arguments.folder / "bars_1d").is_dir():
        parser.error(f"there is no folder {arguments.folder / 'bars_1d'}")
    series = [Series(arguments.folder, name) for name in SERIES]
    months = np.array([one.months for one in series])
    head = " ".join(f"{name:>6}" for name in SERIES)
    print(f"{'model':<16} {'mean':>6} {head} {'cover':>6} {'ms':>7}  difference from the first")
    first: Floats | None = None
    for options in MODELS + SLOW * arguments.all:
        losses, coverage, cost = evaluate(options, series)
        first = losses if first is None else first
        row = " ".join(f"{loss:6.3f}" for loss in losses.mean(axis=1))
        low, high = interval(losses - first, months)
        print(
            f"{options.name or options.type:<16} {losses.mean():6.4f} {row} {coverage:6.3f} {cost:7.2f}  "
            f"{(losses - first).mean():+.3f} [{low:+.3f}, {high:+.3f}]",
            flush=True,
        )


if __name__ == "__main__":
    main()
