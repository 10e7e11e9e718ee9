"""Squared error of envelopes from few paths: stratified draws (Array-RQMC) against independent ones.

    python benchmarks/rqmc.py [FOLDER] [--model FOLDER] [--windows N] [--repeats N] [--paths N] [--reference N]

What 10,000 paths say is taken as the truth of each window; the errors of p10, p50 and p90 of the close, in units of
that envelope's width, are averaged over windows and repeats. Windows are spread over the six series of baselines.py
from 2025 on. Each way of drawing uses the quantile rule that belongs to it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from baselines import SERIES, Series
from kronosfw_kronos_event.bars import to_candles
from kronosfw_kronos_event.kronos.candles import CLOSE, Floats, stamps
from kronosfw_kronos_event.kronos.decoder import quantiles
from kronosfw_kronos_event.kronos.draws import Method
from kronosfw_kronos_event.kronos.generation import Options
from kronosfw_kronos_event.kronos.generation import Series as Drawn
from kronosfw_kronos_event.kronos.model import Kronos
from kronosfw_kronos_event.kronos.sampler import Sampler
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer
from kronosfw_kronos_event.options import KronosEvent
from kronosfw_kronos_event.sources import source

STEPS = (1, 5, 24, 60)
LEVELS = (0.1, 0.5, 0.9)


def contexts(folder: Path, number: int, length: int) -> list[Drawn]:
    """Return series spread evenly over symbols and time, with the stamps of the bars that came."""
    found = []
    for i in range(number):
        one = Series(folder, list(SERIES)[i % len(SERIES)])
        origins = one.origins[one.origins + max(STEPS) < len(one.bars)]
        start = origins[len(origins) * i // number] + 1 - length
        whole = one.bars[start : start + length + max(STEPS)]
        found.append(Drawn(to_candles(whole[:length]), stamps(whole.times.session), seed=i))
    return found


def closes(sampler: Sampler, series: Drawn, seeds: range) -> Floats:
    """Return the closes drawn from each seed ``[seeds, paths, steps]``."""
    drawn = sampler.sample([Drawn(series.candles, series.stamps, seed) for seed in seeds])
    return np.stack([paths.candles[:, np.array(STEPS) - 1, CLOSE] for paths in drawn])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--model", default="kronos-nano")
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--paths", type=int, default=30)
    parser.add_argument("--reference", type=int, default=10_000)
    arguments = parser.parse_args()
    if not (arguments.folder / "bars_1d").is_dir():
        parser.error(f"there is no folder {arguments.folder / 'bars_1d'}")
    torch.set_num_threads(1)
    where = source(KronosEvent(model=arguments.model))
    tokenizer = KronosTokenizer.from_pretrained(where.tokenizer)
    model = Kronos.from_pretrained(where.model)

    def sampler(paths: int, method: Method) -> Sampler:
        options = Options(paths=paths, method=method, max_context=where.max_context)
        return Sampler(tokenizer, model, options, rotary=where.rotary)

    truth = sampler(1000, "independent")
    ways: dict[Method, Sampler] = {m: sampler(arguments.paths, m) for m in ("independent", "rqmc")}
    series = contexts(arguments.folder, arguments.windows, where.max_context - max(STEPS) + 1)
    errors: dict[Method, list[Floats]] = {m: [] for m in ways}
    for i, one in enumerate(series):
        many = closes(truth, one, range(10**9, 10**9 + arguments.reference // 1000)).reshape(-1, len(STEPS))
        true = quantiles(many, LEVELS, "independent")
        width = true[:, -1:] - true[:, :1]
        for method, way in ways.items():
            found = closes(way, one, range(arguments.repeats)).swapaxes(0, 1)
            errors[method].append(((quantiles(found, LEVELS, method) - true) / width) ** 2)
        print(f"window {i + 1} of {len(series)}", file=sys.stderr)
    print(f"{'':>6} {'p10 and p90':^32}   {'p50':^32}")
    print(f"{'step':>6}" + f"{'independent':>12} {'rqmc':>10} {'ratio':>8} " * 2)
    means = {m: np.mean(e, axis=(0, 1)) for m, e in errors.items()}
    for row, step in enumerate(STEPS):
        cells = ""
        for columns in ([0, 2], [1]):
            one, other = (means[m][row, columns].mean() for m in ("independent", "rqmc"))
            cells += f"{one:12.5f} {other:10.5f} {one / other:8.2f} "
        print(f"{step:6d}{cells}")


if __name__ == "__main__":
    main()
