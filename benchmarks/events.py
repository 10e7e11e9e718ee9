"""What knowing of events is worth: an adapter of kronos-nano against the same adapter trained without events.

    python benchmarks/events.py simulated [--out FOLDER] [--set name=value ...]
    python benchmarks/events.py real [--out FOLDER] [--set name=value ...]
    python benchmarks/events.py options [--out FOLDER] [--only NAME ...]

``simulated`` trains on the market of examples/events_simulated.yaml, whose truth is known; ``real`` on that of
examples/events_real.yaml (its data lie where KRONOSFW_DATA says, else in ../shared/data beside the project). Both
arms see the same examples for as many steps; one is given the channels of ``macro20``, and so draws those with an
event in their horizon, nine in ten, more often. ``options`` trains a while on the simulated market for each option
of the trainer, and for ranks 8 and 4 with three seeds each. ``--set`` changes options of the trainer. Intervals are
95 %, from a bootstrap of the days on which forecasts are made.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from kronosfw_kronos_event.options import KronosEvent

from kronosfw import metrics
from kronosfw.config import Config, Training
from kronosfw.encoding import build_encoders, leaders_of
from kronosfw.examples import split
from kronosfw.interfaces import Forecaster
from kronosfw.loading import load
from kronosfw.pipeline import silent
from kronosfw.reading import read, read_facts
from kronosfw.training import train
from kronosfw.types import Example, Floats, moment
from kronosfw.windows import Cutter

LEVELS = tuple(np.round(np.arange(0.05, 0.96, 0.05), 2).tolist())
LOW, MID, HIGH = (LEVELS.index(level) for level in (0.1, 0.5, 0.9))
RELEASES = "is_fomc", "is_cpi", "is_nfp", "is_gdp", "is_pce", "is_earnings"
MAJOR = "is_fomc", "is_cpi", "is_nfp"
SURPRISES = {"cpi_surprise_z": -1.0, "nfp_surprise_z": 1.0}
"""Channels of surprises, and the sign with which they move the simulated equities."""
AFTER = 3
"""Bars after a release over which the simulated price drifts."""
PATHS = {"envelope": 60, "surprise": 300}
"""Paths of a forecast that is scored, and of one that is compared with itself, whose noise is to be small."""


@dataclass(frozen=True)
class Found:
    """What one arm forecast: quantiles and outcomes of the close in log returns from the last one."""

    quantiles: Floats
    """``[N, H, Q]``"""
    actual: Floats
    """``[N, H]``"""

    @property
    def crps(self) -> Floats:
        """CRPS by step ``[N, H]``, in per cent."""
        return 100 * metrics.crps_quantiles(self.actual, self.quantiles, LEVELS)

    @property
    def covered(self) -> Floats:
        """Whether p10 to p90 held the outcome ``[N, H]``."""
        inside = (self.quantiles[..., LOW] <= self.actual) & (self.actual <= self.quantiles[..., HIGH])
        return inside.astype(float)

    @property
    def width(self) -> Floats:
        """From p10 to p90 ``[N, H]``."""
        return self.quantiles[..., HIGH] - self.quantiles[..., LOW]


def forecast(model: Forecaster, examples: Sequence[Example], hidden: Sequence[str] = ()) -> Found:
    """Forecast examples, without some groups of channels where named."""
    windows = [example.window for example in examples]
    if hidden:
        windows = [replace(w, covariates=w.covariates and w.covariates.without(hidden)) for w in windows]
    found = np.stack([f.at(LEVELS) for f in model.forecast(windows, LEVELS)])
    last = np.array([w.bars.close[-1] for w in windows])
    actual = np.stack([example.target.close for example in examples])
    return Found(np.log(found / last[:, None, None]), np.log(actual / last[:, None]))


def interval(values: Floats, days: Floats, draws: int = 2000) -> tuple[float, float, float]:
    """Return mean and 95 % interval of ``[N]``, resampling days."""
    _, day = np.unique(days, return_inverse=True)
    sums, counts = np.bincount(day, values), np.bincount(day)
    drawn = np.random.default_rng(0).integers(0, len(sums), (draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def show(name: str, values: Floats, days: Floats, form: str = "+.4f") -> None:
    """Print a mean with its interval."""
    mean, low, high = interval(values, days)
    print(f"  {name:<58} {mean:{form}} [{low:{form}}, {high:{form}}]  n = {len(values)}", flush=True)


def tests(config: Config, since: date, until: date | None, horizon: int, context: int) -> list[Example]:
    """Return every window from a day on, with what came after it."""
    encoders = build_encoders(config)
    leaders = leaders_of(encoders)
    symbols = list(dict.fromkeys([*config.forecast_symbols, *leaders]))
    market = read(config, symbols, config.as_of, silent)
    facts = read_facts(config, symbols, moment("1990-01-01"), market.cutoff)
    cutter = Cutter(
        config.freq, context, horizon, 0, encoders, facts, {name: market.bars[name] for name in leaders}
    )
    mine = {symbol: market.bars[symbol] for symbol in config.forecast_symbols}
    span = Training(start=since - timedelta(1), validate_from=since, until=until, stride=1)
    return list(split(cutter, mine, config.universe, span, silent)[1])


def channel(examples: Sequence[Example], names: Sequence[str], row: int) -> Floats:
    """Return channels of a row counted from the first bar to come ``[N, names]``."""
    columns = [examples[0].window.covariates.names.index(name) for name in names]
    return np.stack([e.window.covariates.values[len(e.window.bars) + row, columns] for e in examples])


def some(rows: Floats, most: int, seed: int = 0) -> list[int]:
    """Return at most so many of the rows, drawn at random."""
    return sorted(np.random.default_rng(seed).permutation(rows)[:most].tolist())


def arms(path: Path, folder: Path, changes: dict[str, Any]) -> tuple[Config, dict[str, Forecaster], Path]:
    """Train both arms, unless they have been; return configuration and version with events, and the forecasters."""
    base = KronosEvent(samples=PATHS["envelope"]).build()
    models = {"base": base}
    content = yaml.safe_load(path.read_text("utf-8"))
    content["trainer"] |= changes
    content["store"] = f"sqlite:///{folder}/results.db"
    for name, encoders in (("without events", []), ("with events", content["encoders"])):
        content |= {"encoders": encoders, "checkpoint_root": f"{folder}/{name.replace(' ', '_')}"}
        file = folder / f"{name.replace(' ', '_')}.yaml"
        file.write_text(yaml.safe_dump(content), "utf-8")
        config, plugins = load(file)
        began = time.monotonic()
        report = train(config, plugins)
        print(
            f"{name}: {report.train[0].examples} examples and more, best at step {report.best.step}, "
            f"{time.monotonic() - began:.0f} s, {report.path}",
            flush=True,
        )
        for record in report.snapshots:
            kept = {k: round(v, 4) for k, v in record.metrics.items() if v is not None}
            print(f"    {record.step:>6} {kept}")
        models[name] = base.with_checkpoint(report.path)
    return config, models, report.path


def compare(
    models: dict[str, Forecaster], examples: Sequence[Example], marked: Floats, days: Floats
) -> dict[str, Found]:
    """Print loss and coverage of one step ahead on bars with an event and on others."""
    found = {name: forecast(model, examples) for name, model in models.items()}
    for name, one in found.items():
        print(f"{name}")
        for what, chosen in (("bars with an event", marked), ("other bars", ~marked)):
            show(f"CRPS of step 1, % of price, {what}", one.crps[chosen, 0], days[chosen], ".4f")
            show(f"coverage of p10 to p90, {what}", one.covered[chosen, 0], days[chosen], ".3f")
    ours, theirs = found["with events"], found["without events"]
    print("with events, against without")
    for what, chosen in (("bars with an event", marked), ("other bars", ~marked)):
        show(f"CRPS of step 1, difference, {what}", (ours.crps - theirs.crps)[chosen, 0], days[chosen])
        share = 100 * (ours.crps[chosen, 0].mean() / theirs.crps[chosen, 0].mean() - 1)
        print(f"  {'':<58} {share:+.2f} %")
    show("CRPS of all steps, difference, all bars", (ours.crps - theirs.crps).mean(axis=1), days)
    return found


def days_of(examples: Sequence[Example]) -> Floats:
    """Return the day of each cutoff."""
    return np.array([e.window.cutoff.astype("datetime64[D]").astype(int) for e in examples])


def simulated(path: Path, folder: Path, changes: dict[str, Any], most: int) -> None:
    """Train and score on the simulated market."""
    config, models, version = arms(path, folder, changes)
    every = tests(config, date(2021, 1, 1), None, 5, config.context)
    marked = (channel(every, RELEASES, 0) != 0).any(axis=1)
    near = (channel(every, RELEASES, -1) != 0).any(axis=1) | (channel(every, RELEASES, 1) != 0).any(axis=1)
    events = some(np.flatnonzero(marked), most)
    others = some(np.flatnonzero(~marked & near), most // 2, 1) + some(
        np.flatnonzero(~marked & ~near), most // 2, 2
    )
    chosen = [every[i] for i in events + others]
    print(f"\none step ahead, {len(events)} bars with a release and {len(others)} without")
    days = days_of(chosen)
    found = compare(models, chosen, marked[events + others], days)
    truth = spread_ratio(config)
    on = np.arange(len(chosen)) < len(events)
    for name, one in found.items():
        ratio = one.width[on, 0].mean() / one.width[~on, 0].mean()
        share = f"{ratio:.3f}, the true one is {truth:.3f}: {ratio / truth:.2f} of it"
        print(f"  width on bars with a release over that on others, {name:<15} {share}")
    finely = KronosEvent(samples=PATHS["surprise"]).build().with_checkpoint(version)
    after_surprise(finely, every, most // 2)


def spread_ratio(config: Config) -> float:
    """Return how much wider the true p10 to p90 of a close-to-close return is on a bar with a release."""
    market = config.feed.build()
    on, off = [], []
    for symbol in config.forecast_symbols:
        truth = market.truth(symbol, config.freq)
        effects = truth.effects
        change = (truth.noise + truth.lead + effects.move + effects.drift + truth.gap) / truth.sigma
        event = (effects.volatility != 1) | (effects.gap_volatility != 1)
        on.append(change[event])
        off.append(change[~event])
    widths = [np.diff(np.quantile(np.concatenate(part), [0.1, 0.9]))[0] for part in (on, off)]
    return float(widths[0] / widths[1])


def after_surprise(model: Forecaster, every: Sequence[Example], most: int) -> None:
    """Print what a surprise in the last bar does to the p50 of the bars over which the price drifts."""
    values = channel(every, list(SURPRISES), -1)
    size = np.abs(values).max(axis=1)
    chosen = [every[i] for i in some(np.flatnonzero(size > 0.5), most)]
    sign = np.sign(channel(chosen, list(SURPRISES), -1) @ np.array(list(SURPRISES.values())))
    days = days_of(chosen)
    known, unknown = forecast(model, chosen), forecast(model, chosen, ["surprise"])
    shift = (known.quantiles - unknown.quantiles)[:, AFTER - 1, MID]
    print(f"\nafter a surprise of more than 0.5 σ, {AFTER} bars ahead")
    show(
        "shift of p50 against the same draw without it, right sign",
        (np.sign(shift) == sign).astype(float),
        days,
        ".3f",
    )
    show("shift of p50, % of price, towards the right sign", 100 * shift * sign, days)
    came = np.sign(known.actual[:, AFTER - 1])
    hit = np.sign(known.quantiles[:, AFTER - 1, MID]) == came
    show("direction of p50, hits", hit.astype(float), days, ".3f")
    show("direction of the drift that was put in, hits", (came == sign).astype(float), days, ".3f")


def real(path: Path, folder: Path, changes: dict[str, Any]) -> None:
    """Train before 2025 and score after it on real daily bars."""
    config, models, _ = arms(path, folder, changes)
    every = tests(config, date(2025, 1, 1), None, 5, config.context)
    kinds = channel(every, MAJOR, 0) != 0
    marked = kinds.any(axis=1)
    print(f"\none step ahead, {marked.sum()} bars with CPI, payrolls or FOMC and {(~marked).sum()} without")
    found = compare(models, every, marked, days_of(every))
    for name, on in zip(MAJOR, kinds.T, strict=True):
        cover = ", ".join(f"{model} {one.covered[on, 0].mean():.3f}" for model, one in found.items())
        print(f"  coverage on {name[3:]:<5} n = {on.sum():<4} {cover}")
    symbols = np.array([e.window.symbol for e in every])
    print("\n  CRPS of step 1 in % of price / coverage, with an event · without")
    for symbol in dict.fromkeys(symbols.tolist()):
        mine = symbols == symbol
        cells = [
            f"{name}: "
            + " · ".join(f"{one.crps[rows, 0].mean():.3f} / {one.covered[rows, 0].mean():.3f}" for rows in parts)
            for parts in [(mine & marked, mine & ~marked)]
            for name, one in found.items()
        ]
        print(f"  {symbol:<6} " + "   ".join(cells))


VARIANTS: dict[str, dict[str, Any]] = {
    "rank 8": {},
    "rank 8, seed 1": {"seed": 1},
    "rank 8, seed 2": {"seed": 2},
    "rank 4": {"rank": 4},
    "rank 4, seed 1": {"rank": 4, "seed": 1},
    "rank 4, seed 2": {"rank": 4, "seed": 2},
    "initial: xavier": {"initial": "xavier"},
    "output: 0": {"output": 0},
    "gate: 3": {"gate": 3},
    "masking: 0.5": {"masking": 0.5},
    "group_dropout: 0.1": {"group_dropout": 0.1},
    "embedding_speed: 1": {"embedding_speed": 1},
    "all linear layers": {"targets": ["q_proj", "k_proj", "v_proj", "out_proj", "w1", "w2", "w3"]},
    "oversample: 1": {"oversample": 1},
}


def options(path: Path, folder: Path, changes: dict[str, Any], only: Sequence[str]) -> None:
    """Train an epoch with each option and print the validation losses."""
    content = yaml.safe_load(path.read_text("utf-8"))
    content["store"] = f"sqlite:///{folder}/results.db"
    content["checkpoint_root"] = str(folder / "options")
    plain = content["trainer"] | {"epochs": 1} | changes
    for name, variant in VARIANTS.items():
        if only and name not in only:
            continue
        content["trainer"] = plain | variant
        file = folder / "variant.yaml"
        file.write_text(yaml.safe_dump(content), "utf-8")
        began = time.monotonic()
        report = train(*load(file))
        found = report.snapshots[-1].metrics
        print(
            f"{name:<20} event {found['event']:.4f}, quiet {found['quiet']:.4f}, all {found['loss']:.4f}; "
            f"{found['trainable']:,.0f} parameters, {time.monotonic() - began:.0f} s",
            flush=True,
        )


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["simulated", "real", "options"])
    parser.add_argument("--out", type=Path, default=Path("events-benchmark"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--most", type=int, default=3000, help="windows of each kind that are forecast")
    parser.add_argument("--only", action="append", default=[], choices=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    changes = {name: yaml.safe_load(text) for name, text in (pair.split("=", 1) for pair in arguments.set)}
    examples = Path(__file__).parents[1] / "examples"
    os.environ.setdefault("KRONOSFW_DATA", str(Path(__file__).resolve().parents[2] / "shared" / "data"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    out = arguments.out.resolve()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    if arguments.what == "simulated":
        simulated(examples / "events_simulated.yaml", out, changes, arguments.most)
    elif arguments.what == "real":
        real(examples / "events_real.yaml", out, changes)
    else:
        options(examples / "events_simulated.yaml", out, changes, arguments.only)


if __name__ == "__main__":
    main()
