"""Measures what kronosfw adds to foundation models at their true size: the package called directly, and through us.

    python benchmarks/foundation.py [chronos2] [timesfm]

Random weights of the published sizes, 23 series of 512 bars, 24 steps ahead, the close alone, no covariates; CPU
time (user and system, median of seven, both taking turns in one process) and the peak memory of a process with one
call.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SERIES, CONTEXT, HORIZON, REPEATS = 23, 512, 24, 7
LEVELS = [0.1, 0.5, 0.9]


def prices() -> np.ndarray:
    """Return closes ``[series, context]`` of random walks."""
    rng = np.random.default_rng(0)
    return 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (SERIES, CONTEXT)), axis=1))


def windows() -> list[Any]:
    """Return the same as windows."""
    from kronosfw.types import Bars, Times, Window

    days = np.datetime64("2023-01-02", "D") + np.arange(CONTEXT + HORIZON)
    opens = days.astype("datetime64[us]")
    times = Times(opens, opens + np.timedelta64(1, "D"), days)
    found = []
    for n, close in enumerate(prices()):
        bars = Bars(
            f"S{n}",
            times[slice(0, CONTEXT)],
            np.repeat(close[:, None], 4, axis=1),
            ("open", "high", "low", "close"),
        )
        future = times[slice(CONTEXT, None)]
        found.append(Window(bars, future, bars.times.available_at[-1], "1d", "equity", n))
    return found


def make_chronos2(folder: Path) -> None:
    """Write a Chronos-2 of the published size with random weights."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "plugins" / "chronos2" / "tests"))
    from tiny import make_tiny

    make_tiny(folder, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12, initializer_factor=0.05)


def chronos2_direct(folder: Path) -> Callable[[], object]:
    """Return a call of the package's own pipeline."""
    import torch
    from chronos.chronos2 import Chronos2Pipeline

    pipeline = Chronos2Pipeline.from_pretrained(str(folder), device_map="cpu", dtype=torch.float32)
    inputs = [{"target": close.astype(np.float32)} for close in prices()]
    return lambda: pipeline.predict_quantiles(
        inputs, prediction_length=HORIZON, quantile_levels=LEVELS, batch_size=256
    )


def chronos2_ours(folder: Path) -> Callable[[], object]:
    """Return a call of the forecaster."""
    from kronosfw_chronos2.options import Chronos2

    forecaster, given = Chronos2(model=str(folder), past_covariates=False).build(), windows()
    return lambda: forecaster.forecast(given, LEVELS)


def make_timesfm(folder: Path) -> None:
    """Write a TimesFM 2.5 of the published size with random weights."""
    import torch
    from timesfm import TimesFM_2p5_200M_torch

    model = TimesFM_2p5_200M_torch(torch_compile=False)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.model.parameters():
            weights.copy_(torch.randn(weights.shape, generator=rng) * 0.02)
    model.save_pretrained(folder)


def timesfm_direct(folder: Path) -> Callable[[], object]:
    """Return a call of the package's own model."""
    from timesfm import ForecastConfig, TimesFM_2p5_200M_torch

    model = TimesFM_2p5_200M_torch.from_pretrained(str(folder), torch_compile=False)
    model.compile(
        ForecastConfig(
            max_context=CONTEXT,
            max_horizon=HORIZON,
            normalize_inputs=True,
            per_core_batch_size=SERIES,
            use_continuous_quantile_head=True,
            force_flip_invariance=True,
            infer_is_positive=True,
            fix_quantile_crossing=True,
        )
    )
    closes = prices()
    return lambda: model.forecast(HORIZON, list(closes))


def timesfm_ours(folder: Path) -> Callable[[], object]:
    """Return a call of the forecaster."""
    from kronosfw_timesfm.options import TimesFm

    forecaster, given = TimesFm(model=str(folder), batch=SERIES).build(), windows()
    return lambda: forecaster.forecast(given, LEVELS)


MODELS: dict[str, tuple[Callable[[Path], None], dict[str, Callable[[Path], Callable[[], object]]]]] = {
    "chronos2": (make_chronos2, {"direct": chronos2_direct, "kronosfw": chronos2_ours}),
    "timesfm": (make_timesfm, {"direct": timesfm_direct, "kronosfw": timesfm_ours}),
}


def peak(model: str, way: str, folder: Path) -> None:
    """Print the peak of memory of a process that makes one call, in MiB."""
    MODELS[model][1][way](folder)()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def seconds(model: str, folder: Path) -> dict[str, float]:
    """Return the CPU seconds of a call in each way, which take turns in this process."""
    calls = {way: make(folder) for way, make in MODELS[model][1].items()}
    spent: dict[str, list[float]] = {way: [] for way in calls}
    for turn in range(REPEATS + 1):
        for way, call in calls.items():
            began = time.process_time()
            call()
            if turn:
                spent[way].append(time.process_time() - began)
    return {way: statistics.median(each) for way, each in spent.items()}


def main() -> None:
    """Print a table."""
    if sys.argv[1:2] == ["peak"]:
        peak(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
        return
    print("| model | direct, CPU s | kronosfw | ratio | direct, peak MiB | kronosfw |\n|---|---|---|---|---|---|")
    for model in sys.argv[1:] or MODELS:
        make, ways = MODELS[model]
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder))
            peaks = []
            for way in ways:
                command = [sys.executable, __file__, "peak", model, way, folder]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                peaks.append(float(out.splitlines()[-1]))
            spent = seconds(model, Path(folder))
        one, other = spent["direct"], spent["kronosfw"]
        print(
            f"| {model} | {one:.2f} | {other:.2f} | {other / one:.2f} | {peaks[0]:.0f} | {peaks[1]:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
