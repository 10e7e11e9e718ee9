"""Backtests that say what ensembles and calibration are worth, and what a backtest costs.

    python benchmarks/backtest.py real [--workers N]         six real daily series, 75 origins each from 2025 on
    python benchmarks/backtest.py simulated [--workers N]    a market in which no member is best everywhere
    python benchmarks/backtest.py cost                       time beside statsforecast's own cross-validation

The first two run the examples of the same names and print their tables, then each ensembler against equal weights
and against the best single member, with intervals, and how the weights of the learner lie by class. Real bars are
read from the folder KRONOSFW_DATA, ../shared/data beside the project unless set.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import SecretStr

from kronosfw.backtesting import backtest
from kronosfw.builtin.forecasters import Drift, StatsForecast
from kronosfw.cli.progress import progress
from kronosfw.config import Backtest, Config, calibrated
from kronosfw.loading import load
from kronosfw.report_backtest import print_backtest
from kronosfw.scoreboard import Line, scoreboard
from kronosfw.store import Store

EXAMPLES = Path(__file__).parents[1] / "examples"
DATA = Path(__file__).parents[2] / "shared" / "data"
END = datetime(9999, 1, 1, tzinfo=UTC)


def compare(name: str, workers: int) -> None:
    """Run an example and print its table, and the differences that matter."""
    os.environ.setdefault("KRONOSFW_DATA", str(DATA))
    config, plugins = load(EXAMPLES / f"backtest_{name}.yaml")
    with tempfile.TemporaryDirectory() as folder:
        config = config.model_copy(update={"store": SecretStr(f"sqlite:///{folder}/results.db")})
        with progress() as show:
            report = backtest(config, plugins, workers=workers, progress=show)
        print_backtest(report, config)
        with Store(config.store.get_secret_value()) as store:
            past = store.past(END, run_id=report.run_id)
    past = past[past["as_of"] >= pd.Timestamp(config.backtest.start, tz="UTC")]
    whole = {line.model: line for line in report.board.lines if line.by == "all"}
    best = min(config.member_names, key=lambda model: whole[model].loss.value)
    equal = next(e.name for e in (config.ensembler, *config.backtest.ensemblers) if e.type == "mean")
    for reference in (equal, best):
        print(f"\ndifference from {reference}, by class")
        board = scoreboard(past, config.quantiles, config.horizon_buckets, reference=reference)
        for line in board.lines:
            if line.by in ("all", "asset_class") and line.model not in (*config.member_names, reference):
                print(f"  {line.model:<20} {line.group:<10} {difference(line)}")
    print("\ncalibration: width over that of the raw envelope, coverage before → after")
    for model, line in whole.items():
        if (after := whole.get(calibrated(model))) is not None:
            lines = report.board.lines
            print(
                f"  {model:<20} × {after.width / line.width:.3f}   {line.coverage.value:.1%} → "
                f"{after.coverage.value:.1%}, by class {by_class(lines, model)} → {by_class(lines, after.model)}"
            )
    print("\nmean weights by class")
    for ensembler in (config.ensembler, *config.backtest.ensemblers):
        rows = past[past["model_name"] == ensembler.name]
        told = pd.DataFrame([context.get("weights", {}) for context in rows["event_context"]])
        for asset_class, mine in told.groupby(rows["asset_class"].to_numpy()):
            weights = ", ".join(f"{member} {share:.2f}" for member, share in mine.mean().items())
            print(f"  {ensembler.name:<20} {asset_class:<10} {weights}")


def difference(line: Line) -> str:
    """Return a difference with its interval, and its share of the reference's loss."""
    d = line.difference
    return f"{d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]  {d.value / (line.loss.value - d.value):+.2%}"


def by_class(lines: tuple[Line, ...], model: str) -> str:
    """Return the coverage of a model in each class."""
    found = (line for line in lines if line.by == "asset_class" and line.model == model)
    return ", ".join(f"{line.group} {line.coverage.value:.1%}" for line in found)


def cost(rounds: int) -> None:
    """Time a backtest of statsforecast's models beside statsforecast's own cross-validation, in turns."""
    from statsforecast import StatsForecast as Theirs
    from statsforecast.models import AutoETS, RandomWalkWithDrift, Theta

    os.environ.setdefault("KRONOSFW_DATA", str(DATA))
    example, plugins = load(EXAMPLES / "backtest_real.yaml")
    members = (Drift(), StatsForecast(name="auto_ets"), StatsForecast(name="theta", model="theta"))
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            config = Config.model_construct(
                **{
                    **{name: getattr(example, name) for name in Config.model_fields},
                    "forecasters": members,
                    "ensembler": None,
                    "calibration": None,
                    "context": 1000,
                    "backtest": Backtest(start=example.backtest.start, step=5, origins=75),
                    "store": SecretStr(f"sqlite:///{folder}/results.db"),
                }
            )
            began = time.process_time()
            report = backtest(config, plugins)
            ours.append(time.process_time() - began)
        frame = frames(Path(os.environ["KRONOSFW_DATA"]), config)
        began = time.process_time()
        models = [RandomWalkWithDrift(), AutoETS(season_length=1), Theta(season_length=1)]
        Theirs(models=models, freq=1, n_jobs=1).cross_validation(
            df=frame, h=5, step_size=5, n_windows=75, level=[80], input_size=1000
        )
        theirs.append(time.process_time() - began)
    forecasting = {name: f"{seconds:.2f}" for name, seconds in report.seconds.items()}
    print(f"75 origins × 6 symbols × {len(members)} models, 5 steps, context 1,000; CPU s, median of {rounds}")
    print(f"  kronosfw backtest, from reading to comparing: {np.median(ours):.2f} (of it models {forecasting})")
    print(f"  statsforecast cross_validation, in memory:    {np.median(theirs):.2f}")
    print(f"  ratio: {np.median(np.divide(ours, theirs)):.2f}")


def frames(folder: Path, config: Config) -> pd.DataFrame:
    """Return the same series as statsforecast wants them, on whole numbers in place of dates."""
    parts = []
    for symbol in config.universe:
        frame = pd.read_csv(folder / "bars_1d" / f"{symbol}.csv").rename(columns=str.lower)
        frame = frame[frame["date"].astype("datetime64[s]") <= pd.Timestamp("2026-07-22")]
        parts.append(pd.DataFrame({"unique_id": symbol, "ds": np.arange(len(frame)), "y": np.log(frame["close"])}))
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("real", "simulated", "cost"))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.part == "cost":
        cost(arguments.rounds)
    else:
        compare(arguments.part, arguments.workers)


if __name__ == "__main__":
    main()
