"""The watch over what was promoted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...types import Check, Floats, Verdict
from .options import Canary
from .panel import Panel, panel

BETS = np.array([0.125, 0.25, 0.5, 0.9])
FIRST = 5
"""Days of known differences before the first bet."""
UNIT = 1.5
"""Root mean squares of past differences that count as 1."""


def watch(options: Canary | None, scores: pd.DataFrame) -> Verdict | None:
    """Return what the days since the promotion show: harm, gain, nothing yet (None) or nothing for long enough.

    The day on which the evidence first suffices decides, whatever came after: it does not matter how often or how
    late one looks. Without options everything is confirmed.

    The evidence is the mean of that of all steps, each by itself: the first step's bets are settled each day and
    tell soonest, as those of the longest horizon cannot.
    """
    if options is None:
        check = Check("canary", True, "the canary is switched off")
        return Verdict(True, (check.text,), (check,))
    paired = panel(scores, ("serving", "previous"))
    if not paired.days:
        return None
    z = {int(step): outcomes(paired, step) for step in np.unique(paired.step)}
    harm, gain = (np.mean([evidence(sign * z[step], step) for step in z], axis=0) for sign in (1, -1))
    for day in range(min(paired.days, options.days)):
        if harm[day] >= options.roll_back_at:
            what = f"shows harm: evidence {harm[day]:.3g}, {options.roll_back_at:g} rolls it back"
            return _verdict(False, "harm", what, day, harm[day], options.roll_back_at)
        if gain[day] >= options.confirm_at:
            what = f"shows a gain: evidence {gain[day]:.3g}, {options.confirm_at:g} confirms it"
            return _verdict(True, "gain", what, day, gain[day], options.confirm_at)
    if paired.days < options.days:
        return None
    last = options.days - 1
    what = f"shows no harm: evidence {harm[last]:.3g}, {options.roll_back_at:g} would roll it back"
    return _verdict(True, "harm", what, last, harm[last], options.roll_back_at)


def _verdict(accepted: bool, name: str, what: str, day: int, value: float, limit: float) -> Verdict:
    check = Check(name, accepted, f"after {day + 1} days what was promoted {what}", float(value), limit=limit)
    return Verdict(accepted, (check.text,), (check,), {"days": day + 1.0, f"evidence_of_{name}": float(value)})


def evidence(z: Floats, step: int) -> Floats:
    """Return the evidence after each day ``[D]`` that ``z``, each within [−1, 1], is above 0 on average.

    E ← E · (1 + λ z) is a fair or losing game as long as z is not above 0 on average given the past, so it reaches
    20 with a chance of at most 1 in 20, whenever one stops (Ville's inequality; Waudby-Smith & Ramdas, Journal of
    the Royal Statistical Society B 86, 2024). The stake is split evenly between four λ at the start, so that the
    λ of the whole is their mean, weighted by what each has won until then.

    Forecasts h steps ahead overlap, and a bet may only rest on what is over: so there are h games of every h-th day
    each, and the evidence is their mean (Henzi & Ziegel, Biometrika 109, 2022). Where bets are open, the moment to
    stop may depend on what is known of them already, which at most doubles the chance.
    """
    games = np.ones((len(z), step))
    for game in range(min(step, len(z))):
        wealth = np.cumprod(1 + z[game::step, None] * BETS, axis=0).mean(axis=1)
        games[game:, game] = np.repeat(wealth, step)[: len(z) - game]
    mean: Floats = games.mean(axis=1)
    return mean


def outcomes(paired: Panel, step: int) -> Floats:
    """Return the outcome of each day ``[D]`` within [−1, 1], above 0 where the previous weights did better.

    It is the mean over symbols of the CRPS at the step of what serves less that of the previous arm, each in units
    of the latter's mean for that symbol, over 1.5 times the root mean square of such means, clipped. All units come
    from the days whose outcomes were known when the day's forecasts were made, ``step`` days before and earlier;
    until there are five of them, the outcome is 0.
    """
    serving, previous = (_by_day(paired, arm, step) for arm in ("serving", "previous"))
    there = np.isfinite(previous)
    differences, losses = np.where(there, serving - previous, 0), np.where(there, previous, 0)
    z = np.zeros(paired.days)
    for day in range(step + FIRST - 1, paired.days):
        known = day - step + 1
        count = there[:known].sum(axis=0)
        unit = np.divide(losses[:known].sum(axis=0), count, out=np.zeros(len(count)), where=count > 0)
        usable = unit > 0
        members = there[: day + 1, usable].sum(axis=1)
        total = (differences[: day + 1, usable] / unit[usable]).sum(axis=1)
        means = np.divide(total, members, out=np.zeros(day + 1), where=members > 0)
        spread = UNIT * np.sqrt(np.mean(means[:known] ** 2))
        z[day] = np.clip(means[day] / spread, -1, 1) if spread > 0 else np.sign(means[day])
    return z


def _by_day(paired: Panel, arm: str, step: int) -> Floats:
    """Return an arm's mean CRPS at a step by day and symbol ``[D, S]``, NaN where there is none."""
    rows = paired.step == step
    pairs, symbol = np.unique(paired.pair[rows], return_inverse=True)
    cell = paired.day[rows] * len(pairs) + symbol
    size = paired.days * len(pairs)
    count = np.bincount(cell, minlength=size)
    total = np.bincount(cell, paired.column(arm, "crps")[rows], minlength=size)
    means: Floats = np.divide(total, count, out=np.full(size, np.nan), where=count > 0)
    return means.reshape(paired.days, len(pairs))
