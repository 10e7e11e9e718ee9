"""How often the guard of the policy `rolling` stops a worse model, and how often one that is as good.

    python benchmarks/guard.py [--simulations 400] [--moved 0.06] [--seed 0]

A panel of 23 instruments in four classes: returns of a market, a class and an own factor, each with Student's t(6)
and a log volatility that reverts to its mean (half-lives of 23 and 14 days); every seventh day is one with an
event, which everyone knows ahead and which multiplies volatility by 1.6. A forecast is made each day, three days
ahead, at nine levels: Student's t(6) around a median, as wide as the true expected volatility times exp(error).

Assumed of a retrained model: it makes most of the mistakes of the model it replaces. All arms share errors of 10 %
in volatility that wander by instrument. To these, incumbent and candidate each add their own, drawn in the same
way, so that without a planted regression neither is better in expectation: by `moved` (a standard deviation) their
log widths differ for good in each instrument, by as much again from day to day, and by two thirds of it in all
instruments at once; their medians differ by two thirds of it for good and by as much from day to day, in standard
deviations of the outcome. The base adds twice as much.

Planted are regressions of 2, 5 and 10 % in expected CRPS of four kinds, in turn: medians shifted up or down by
instrument, envelopes too narrow, too wide, and noise in medians and log widths alike; how much of each it takes is
found on 30 markets of their own, those of seed 1. The last 21, 63 or 126 days are judged through the policy's
`admit`; its canary then sees 63 more, in their order.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.signal import lfilter
from scipy.stats import t as student

from kronosfw import metrics
from kronosfw.builtin.policies import Rolling
from kronosfw.types import Checkpoint, Floats, Trial

INSTRUMENTS, CLASSES, HORIZON, DAYS = 23, 4, 3, (21, 63, 126)
LEVELS = np.arange(1, 10) / 10
KINDS = ("bias", "narrow", "wide", "noise")
REGRESSIONS = (0.02, 0.05, 0.10)
PILOT = 30
SHAPE = student.ppf(LEVELS, 6) / np.sqrt(1.5)
SLOT = datetime(2025, 1, 1, tzinfo=UTC)
WATCHED = 63


@dataclass(frozen=True)
class Market:
    """Outcomes ``[days, instruments, steps]`` of one stretch, what could be known of them, and the arms' errors."""

    outcome: Floats
    sigma: Floats
    event: Floats
    wide: dict[str, Floats]
    off: dict[str, Floats]
    sign: Floats
    noise: tuple[Floats, Floats]


def wander(rng: np.random.Generator, shape: tuple[int, int], persistence: float) -> Floats:
    """Return autoregressive paths of unit variance ``[days, n]``."""
    draws = rng.standard_normal((shape[0] + 100, shape[1]))
    paths: Floats = lfilter([np.sqrt(1 - persistence**2)], [1, -persistence], draws, axis=0)[100:]
    return paths


def market(rng: np.random.Generator, days: int, moved: float) -> Market:
    """Return a stretch of days."""
    n, length = INSTRUMENTS, days + HORIZON
    group = rng.integers(CLASSES, size=n)
    level = np.exp(rng.normal(-4.5, 0.6, size=n))
    loadings = np.sqrt(np.array([rng.uniform(0.15, 0.4, n), rng.uniform(0.1, 0.3, n)]))
    own = np.sqrt(1 - (loadings**2).sum(axis=0))
    event = np.zeros(length, dtype=bool)
    event[rng.integers(7) :: 7] = True
    variance = np.zeros((days, n, HORIZON))
    returns = np.zeros((length, n))
    parts = (
        (loadings[0], 0.97, 0.35, np.zeros(n, dtype=int), 1),
        (loadings[1], 0.97, 0.25, group, CLASSES),
        (own, 0.95, 0.3, np.arange(n), n),
    )
    ahead = np.arange(1, HORIZON + 1)
    for loading, persistence, spread, member, count in parts:
        log = spread * wander(rng, (length, count), persistence)
        shocks = rng.standard_t(6, size=(length, count)) / np.sqrt(1.5)
        returns += loading * (np.exp(log) * shocks)[:, member]
        expected = 2 * persistence**ahead * log[:days, :, None]
        expected = np.exp(expected + 2 * spread**2 * (1 - persistence ** (2 * ahead)))
        variance += (loading**2)[:, None] * expected[:, member]
    boost = np.where(event, 1.6, 1.0)
    returns *= level * boost[:, None]
    later = np.arange(days)[:, None] + ahead
    variance *= level[:, None] ** 2 * (boost[later] ** 2)[:, None, :]
    path = np.concatenate([np.zeros((1, n)), returns.cumsum(axis=0)])
    outcome = (path[later + 1] - path[np.arange(days) + 1][:, None]).transpose(0, 2, 1)
    shared = 0.1 * wander(rng, (days, n), 0.97)
    wide, off = {}, {}
    for arm, size in (("candidate", 1), ("incumbent", 1), ("base", 2)):
        own_size = size * moved / np.sqrt(2)
        steady, common, shift = rng.standard_normal(n), rng.standard_normal(), rng.standard_normal(n)
        wide[arm] = shared + own_size * (steady + wander(rng, (days, n), 0.9) + 2 / 3 * common)
        off[arm] = 2 / 3 * own_size * (shift + wander(rng, (days, n), 0.9))
    noise = wander(rng, (days, n), 0.9), wander(rng, (days, n), 0.9)
    sigma = np.sqrt(variance.cumsum(axis=2))
    return Market(outcome, sigma, event[later], wide, off, rng.choice([-1.0, 1.0], n), noise)


def regressed(one: Market, kind: str, size: float) -> Market:
    """Return the market with a candidate that is worse."""
    off, wide = one.off["candidate"], one.wide["candidate"]
    if kind == "bias":
        off = off + size * one.sign
    elif kind == "noise":
        off, wide = off + size * one.noise[0], wide + size * one.noise[1]
    else:
        wide = wide + (size if kind == "wide" else -size)
    return replace(one, off={**one.off, "candidate": off}, wide={**one.wide, "candidate": wide})


def envelope(one: Market, arm: str) -> Floats:
    """Return quantiles of the return since the last close ``[days, instruments, steps, levels]``."""
    z = one.off[arm][..., None] + np.exp(one.wide[arm])[..., None] * SHAPE
    quantiles: Floats = one.sigma[..., None] * z[:, :, None, :]
    return quantiles


def scores(one: Market, arm: str, name: str) -> pd.DataFrame:
    """Return a frame as in ``Trial``."""
    days, n, steps = one.outcome.shape
    quantiles = envelope(one, arm)
    day = (np.datetime64("2024-01-01") + np.arange(days)).astype("datetime64[s]")
    median = quantiles[..., 4]
    columns = {
        "arm": name,
        "symbol": np.tile(np.repeat([f"S{i:02d}" for i in range(n)], steps), days),
        "as_of": pd.DatetimeIndex(np.repeat(day.astype("datetime64[us]"), n * steps)).tz_localize("UTC"),
        "day": np.repeat(day, n * steps),
        "step": np.tile(np.arange(1, steps + 1), days * n),
        "crps": metrics.crps_quantiles(one.outcome, quantiles, LEVELS).ravel(),
        "abs_error": np.abs(one.outcome - median).ravel(),
        "covered": metrics.covered(one.outcome, quantiles[..., 0], quantiles[..., -1]).ravel(),
        "event_active": np.repeat(one.event[:, None], n, axis=1).ravel(),
        "median": median.ravel(),
        "actual": one.outcome.ravel(),
    }
    return pd.DataFrame(columns)


def stretch(frame: pd.DataFrame, first: int, end: int) -> pd.DataFrame:
    """Return some of the days of a frame of one arm."""
    rows = INSTRUMENTS * HORIZON
    return frame.iloc[first * rows : end * rows]


def sizes(moved: float) -> dict[tuple[str, float], float]:
    """Return how much of each kind makes each regression."""
    pilot = [market(np.random.default_rng((1, i)), max(DAYS), moved) for i in range(PILOT)]

    def crps(one: Market) -> Floats:
        return metrics.crps_quantiles(one.outcome, envelope(one, "candidate"), LEVELS).mean(axis=0)

    before = [crps(one) for one in pilot]
    grid = np.linspace(0, 1.2, 13)
    found = {}
    for kind in KINDS:
        after = [[crps(regressed(one, kind, size)) for one in pilot] for size in grid]
        worse = np.array([np.mean([a / b - 1 for a, b in zip(row, before, strict=True)]) for row in after])
        root = np.sqrt(np.maximum.accumulate(worse.clip(0)))
        for regression in REGRESSIONS:
            found[kind, regression] = float(np.interp(np.sqrt(regression), root, grid))
    return found


def simulate(count: int, moved: float, seed: int) -> pd.DataFrame:
    """Return a row for each candidate and number of days judged, the canary's with 0 days."""
    policy = Rolling().build()
    own = Checkpoint("2025-01-01-0001", Path("candidate"), "any", "equity")
    size, judged = sizes(moved), max(DAYS)
    rows = []
    for i in track(range(count), description="simulations", console=Console(stderr=True)):
        one = market(np.random.default_rng((seed, i)), judged + WATCHED, moved)
        others = [scores(one, arm, arm) for arm in ("incumbent", "base")]
        kind = KINDS[i % len(KINDS)]
        for regression in (0.0, *REGRESSIONS):
            worse = regressed(one, kind, size[kind, regression]) if regression else one
            candidate = scores(worse, "candidate", "candidate")
            cell = {"regression": regression, "kind": kind}
            for days in DAYS:
                frames = [stretch(frame, judged - days, judged) for frame in (candidate, *others)]
                verdict = policy.admit(Trial(own, None, None, pd.concat(frames, ignore_index=True), SLOT))
                checks = {check.name: check for check in verdict.checks}
                rows.append(
                    cell
                    | {"days": days, "plain": not (checks["mae_incumbent"].passed and checks["mae_base"].passed)}
                    | {"full": not verdict.accepted, "difference": checks["crps"].value}
                    | {name: not checks[name].passed for name in ("crps", "crps_quiet", "coverage")}
                )
            watched = [stretch(frame, judged, judged + WATCHED) for frame in (candidate, others[0])]
            pair = [frame.assign(arm=arm) for frame, arm in zip(watched, ("serving", "previous"), strict=True)]
            seen = policy.watch(pd.concat(pair, ignore_index=True))
            rows.append(cell | {"days": 0, "back": not seen.accepted, "after": seen.numbers["days"]})
    return pd.DataFrame(rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--moved", type=float, default=0.06)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = simulate(arguments.simulations, arguments.moved, arguments.seed)
    guard, canary = found[found["days"] > 0], found[found["days"] == 0]
    console = Console()

    table = Table(
        "regression", "days", "plain rule", "full guard", "crps", "crps_quiet", "coverage", "sd of the mean"
    )
    for (regression, days), cell in guard.groupby(["regression", "days"]):
        shares = [f"{cell[name].mean():.1%}" for name in ("plain", "full", "crps", "crps_quiet", "coverage")]
        table.add_row(f"{regression:.0%}", str(days), *shares, f"{cell['difference'].std():.2%}")
    console.print(f"rejected, {arguments.simulations} simulations a row, `moved` {arguments.moved:g}", table)

    table = Table("kind", *(f"{regression:.0%}" for regression in REGRESSIONS))
    for kind in KINDS:
        cells = guard[(guard["kind"] == kind) & (guard["days"] == 63)].groupby("regression")
        pairs = [f"{cells['plain'].mean()[r]:.0%}, {cells['full'].mean()[r]:.0%}" for r in REGRESSIONS]
        table.add_row(kind, *pairs)
    console.print("rejected on 63 days by kind: plain rule, full guard", table)

    table = Table("regression", "rolled back", "after days (median)", *KINDS)
    for regression, cell in canary.groupby("regression"):
        back = cell[cell["back"].astype(bool)]
        kinds = [f"{cell[cell['kind'] == kind]['back'].mean():.0%}" for kind in KINDS]
        after = f"{back['after'].median():.0f}" if len(back) else ""
        table.add_row(f"{regression:.0%}", f"{cell['back'].mean():.1%}", after, *kinds)
    console.print(f"rolled back by the canary within {WATCHED} days", table)


if __name__ == "__main__":
    main()
