"""Time and memory of a run over many symbols with the random walk, and what the host adds to the model.

Each backend runs in a process of its own; the model alone is timed on the same windows in the same process.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

BARS = 500
BACKENDS = ("parquet", "csv", "simulated")


def prepare(folder: Path, symbols: int) -> None:
    """Write the same random walks as one long Parquet file and as one CSV file for each symbol."""
    rng = np.random.default_rng(0)
    time_column = pd.date_range("2024-01-01", periods=BARS, tz="UTC").as_unit("us")
    frames = []
    for i in range(symbols):
        close = 100 * np.exp(rng.normal(0, 0.02, BARS).cumsum())
        opens = np.r_[100.0, close[:-1]]
        frame = pd.DataFrame({"time": time_column, "open": opens, "close": close, "volume": 1e3})
        frame["high"], frame["low"] = np.maximum(opens, close) * 1.001, np.minimum(opens, close) / 1.001
        frame.to_csv(folder / f"CRYPTO{i + 1:04d}.csv", index=False)
        frames.append(frame.assign(symbol=f"CRYPTO{i + 1:04d}"))
    pd.concat(frames).to_parquet(folder / "bars.parquet")


def run_backend(folder: Path, backend: str, symbols: int) -> None:
    """Run once and print a row of the table."""
    from kronosfw.loading import load
    from kronosfw.pipeline import run, silent
    from kronosfw.survey import Survey

    feed = {
        "parquet": "{type: parquet, path: bars.parquet}",
        "csv": '{type: csv, path: "*.csv"}',
        "simulated": f"{{type: simulated, count: {symbols}, start: 2024-01-01, end: 2025-05-14}}",
    }[backend]
    names = ", ".join(f"CRYPTO{i + 1:04d}: {{asset_class: crypto}}" for i in range(symbols))
    path = folder / f"{backend}.yaml"
    path.write_text(
        f"feed: {feed}\nuniverse: {{{names}}}\ncontext: {BARS}\nhorizon: 5\n"
        f"forecasters: [{{type: random_walk, context: {BARS}}}]\nstore: sqlite:///{backend}.db\n"
    )
    config, plugins = load(path)
    started, cpu = time.perf_counter(), time.process_time()
    report = run(config, plugins)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert report.exit_code == 0
    assert report.stored == 5 * symbols
    forecaster = config.forecasters[0].build()
    survey = Survey(config, config.forecast_symbols, config.as_of, BARS, silent)
    windows = list(survey.windows(survey.symbols)[0].values())
    started = time.process_time()
    for start in range(0, len(windows), config.batch):
        forecaster.forecast(windows[start : start + config.batch], config.quantiles)
    model = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"| {backend} | {wall:.2f} | {cpu:.2f} | {model:.3f} | {1000 * (cpu - model) / symbols:.2f} | "
        f"{cpu / model:.0f} | {peak:.0f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=2000)
    parser.add_argument("--backend", choices=BACKENDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.backend:
        run_backend(options.folder, options.backend, options.symbols)
        return
    print(f"{options.symbols} symbols × {BARS} daily bars, 5 ahead, random walk, SQLite\n")
    print("| feed | wall s | CPU s | of it model s | host ms a symbol | run ÷ model | peak MiB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), options.symbols)
        for backend in BACKENDS:
            inner = ["--backend", backend, "--folder", folder, "--symbols", str(options.symbols)]
            subprocess.run([sys.executable, __file__, *inner], check=True)


if __name__ == "__main__":
    main()
