"""kronosfw's forecasters as fev scores them, on a data set made here: simulated markets that trade every day.

pip install 'kronosfw[fev,garch]'
python examples/fev_local.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import fev
import pandas as pd

from kronosfw.builtin.forecasters import Bootstrap, Garch, Har, RandomWalk, SeasonalNaive
from kronosfw.builtin.simulated import SimulatedFeed
from kronosfw.interchange.fev import evaluate
from kronosfw.types import Span, moment

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
FORECASTERS = (RandomWalk(), SeasonalNaive(), Bootstrap(), Har(), Garch())


def main() -> None:
    """Print the scores of each forecaster, and fev's leaderboard of them."""
    span = Span(start=moment("2021-01-01"), end=moment("2025-01-01"))
    bars = dict(SimulatedFeed().build().bars(SYMBOLS, "1d", span))
    closes = [
        pd.DataFrame({"id": name, "timestamp": frame["time"].dt.tz_localize(None), "target": frame["close"]})
        for name, frame in bars.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "closes.parquet"
        pd.concat(closes).to_parquet(path, index=False)
        task = fev.Task(
            dataset_path=str(path),
            horizon=5,
            num_windows=20,
            seasonality=1,
            eval_metric="SQL",
            extra_metrics=["MASE", "WQL"],
            quantile_levels=[0.1, 0.5, 0.9],
        )
        task.load_full_dataset(num_proc=1)
        scores = pd.DataFrame([evaluate(task, forecaster) for forecaster in FORECASTERS])
    print(scores[["model_name", "SQL", "MASE", "WQL", "inference_time_s"]].round(4).to_string(index=False))
    print(fev.leaderboard(scores, baseline_model="seasonal_naive").round(3).to_string())


if __name__ == "__main__":
    main()
