"""Whether a candidate is shown to be hardly worse than what serves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...types import Check, Floats
from .options import Noninferiority
from .panel import Panel
from .resampling import weights

NOMINAL = 0.8
"""Share of outcomes that should lie within p10 and p90."""


def noninferiority(options: Noninferiority, panel: Panel) -> Iterator[Check]:
    """Yield the checks of days, CRPS on all rows and on those without an event, and coverage.

    A candidate passes on CRPS if the upper bound of its relative difference from what serves lies below the margin:
    the burden of proof is on the candidate, so noise rejects. With too few days nothing else is looked at.
    """
    enough = panel.days >= options.min_days
    text = f"{panel.days} days judged, at least {options.min_days} needed"
    yield Check("days", enough, text if enough else f"inconclusive: {text}", panel.days, limit=options.min_days)
    if enough:
        yield _bound(options, panel, panel.difference("candidate", "incumbent"), "crps", options.margin, "")
        yield _quiet(options, panel)
        yield _coverage(options, panel)


def _quiet(options: Noninferiority, panel: Panel) -> Check:
    name, quiet = "crps_quiet", ~panel.event
    if quiet.all():
        return Check(name, True, "no bar judged had an event: nothing to tell apart")
    daily = panel.difference("candidate", "incumbent", quiet)
    if len(daily) < options.min_days:
        return Check(name, True, f"only {len(daily)} days have bars without an event: not judged apart")
    return _bound(options, panel, daily, name, options.quiet_margin, " on bars without an event")


def _bound(options: Noninferiority, panel: Panel, daily: Floats, name: str, margin: float, where: str) -> Check:
    draws = weights(options, daily, panel.steps) @ daily
    low, high = (float(end) for end in np.quantile(draws, [1 - options.level, options.level]))
    text = (
        f"CRPS {daily.mean():+.2%}{where} against what serves, its upper {options.level:.0%} bound {high:+.2%}, "
        f"below {margin:+.1%} asked for"
    )
    return Check(name, high < margin, text, float(daily.mean()), low, high, margin)


def _coverage(options: Noninferiority, panel: Panel) -> Check:
    """Check that p10 to p90 covers 80 %, give or take what is allowed.

    Coverage is noisy where few days share a market: all envelopes are too narrow in a month of turmoil. So a
    candidate that is farther off still passes, unless it is shown both to be farther off than allowed and to be
    farther off than what serves.
    """
    own, other = (panel.daily(panel.column(arm, "covered")) for arm in ("candidate", "incumbent"))
    draws = weights(options, own, panel.steps)
    covered, serving = float(own.mean()), float(other.mean())
    low, high = (float(end) for end in np.quantile(draws @ own, [1 - options.level, options.level]))
    near = abs(covered - NOMINAL) <= options.coverage
    off, serving_off = np.abs(draws @ own - NOMINAL), np.abs(draws @ other - NOMINAL)
    shown = np.quantile([off - options.coverage, off - serving_off], 1 - options.level, axis=1) > 0
    excused = not near and not shown.all()
    text = (
        f"p10 to p90 covers {covered:.1%}, {NOMINAL:.0%} ± {100 * options.coverage:g} points asked for; "
        f"what serves covers {serving:.1%}"
    )
    if excused:
        text += "; not shown to be farther off than that and than allowed"
    return Check("coverage", near or excused, text, covered, low, high, options.coverage)
