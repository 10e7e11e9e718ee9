"""Scores kronos-nano on six daily series it was not trained on, by step, beside the baselines.

    python benchmarks/kronos_nano.py [FOLDER] [--model FOLDER] [--since DATE] [--context N ...]

The protocol is that of baselines.py. Rows: random walk and GJR-GARCH; nano with stratified and with independent
draws, anchored at the last close and not. The interval is a bootstrap of months of the difference from the random
walk.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from baselines import FIRST, HORIZON, SERIES, Series, evaluate_by_step, interval
from kronosfw_kronos_event.options import KronosEvent

from kronosfw.builtin import forecasters as f
from kronosfw.interfaces import ForecasterConfig
from kronosfw.types import Floats


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--model", default="kronos-nano")
    parser.add_argument("--since", default=FIRST, help="first cutoff is the last close before this date")
    parser.add_argument("--context", type=int, nargs="*", default=[None])
    arguments = parser.parse_args()
    if not (arguments.folder / "bars_1d").is_dir():
        parser.error(f"there is no folder {arguments.folder / 'bars_1d'}")
    torch.set_num_threads(1)
    series = [Series(arguments.folder, name, arguments.since) for name in SERIES]
    months = np.array([one.months for one in series])
    models: list[ForecasterConfig] = [f.RandomWalk(), f.Garch()]
    for context in arguments.context:
        at = {"model": arguments.model, "context": context, "threads": 1}
        label = f" {context}" if context else ""
        models += [
            KronosEvent(name=f"nano{label}", **at),
            KronosEvent(name=f"nano{label} independent", sampling="independent", **at),
            KronosEvent(name=f"nano{label} not anchored", anchor=False, **at),
            KronosEvent(name=f"nano{label} 300 paths", samples=300, **at),
        ]
    steps = " ".join(f"{f'step {h}':>12}" for h in range(1, HORIZON + 1))
    names = " ".join(f"{name:>5}" for name in SERIES)
    print(f"{'scaled pinball, coverage':<24} {'all':>12} {steps}  {names} {'ms':>5}  difference from the first")
    first: Floats | None = None
    for options in models:
        losses, inside, cost = evaluate_by_step(options, series)
        first = losses if first is None else first
        by_step = zip(losses.mean(axis=(0, 1)), inside.mean(axis=(0, 1)), strict=True)
        cells = [(losses.mean(), inside.mean()), *by_step]
        row = " ".join(f"{loss:6.3f} {cover:.3f}" for loss, cover in cells)
        each = " ".join(f"{loss:5.3f}" for loss in losses.mean(axis=(1, 2)))
        difference = (losses - first).mean(axis=2)
        low, high = interval(difference, months)
        print(
            f"{options.name or options.type:<24} {row}  {each} {cost:5.1f}  "
            f"{difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]",
            flush=True,
        )


if __name__ == "__main__":
    main()
