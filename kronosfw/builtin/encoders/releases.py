"""What releases said, as impulses on the bars in which they became known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...types import Fact, Floats, Moment, Moments, Times
from .trailing import trailing

Release = tuple[Moment, Mapping[str, float]]
"""When a figure became known, and what was known of its event then."""


def released(facts: Sequence[Fact], kind: str, figure: str) -> list[Release]:
    """Return the first release of a figure for each event of a kind, in the order they became known.

    ``facts`` are in that order. Consensus and previous figure are those last known by then; a revision is no
    release.
    """
    known: dict[object, dict[str, float]] = {}
    releases: list[Release] = []
    for fact in facts:
        if fact.kind == kind:
            values = known.setdefault(fact.event or fact.scheduled_at, {})
            first = figure in fact.values and figure not in values
            values.update(fact.values)
            if first:
                releases.append((fact.known_at, dict(values)))
    return releases


def impulses(times: Times, known_at: Moments, *parts: tuple[Sequence[Release], Floats]) -> Floats:
    """Return each release's value on the bar in which it became known, 0 on all others ``[N]``.

    NaN where no release was known yet: a calendar without figures cannot say that there was no surprise. Where
    several fall on one bar the last one counts, and one of a later part before those of an earlier one.
    """
    channel = np.full(len(times), np.nan)
    for releases, _ in parts:
        if releases:
            channel[known_at >= releases[0][0]] = 0.0
    for releases, values in parts:
        at = _moments(releases)
        row = np.searchsorted(times.available_at, at, side="right")
        known = row < len(times)
        known[known] = at[known] <= known_at[row[known]]
        channel[row[known]] = values[known]
    return channel


def surprises(releases: Sequence[Release], window: int, fewest: int, clip: float) -> Floats:
    """Return (actual − forecast) / σ of each release, within ±clip ``[R]``.

    σ is the standard deviation of the last ``window`` surprises known strictly before; NaN where there are fewer
    than ``fewest``, where those do not differ, and where nothing was forecast.
    """
    at = _moments(releases)
    miss = np.array([said["actual"] - said.get("forecast", np.nan) for _, said in releases])
    told = np.isfinite(miss)
    _, sigma = trailing(miss[told], window, fewest)
    earlier = np.searchsorted(at[told], at)
    z: Floats = miss / np.append(np.nan, sigma)[earlier]
    return np.clip(z, -clip, clip)


def rate_moves(releases: Sequence[Release]) -> Floats:
    """Return each change of a rate in steps of 25 basis points, at most ±2, halved ``[R]``.

    NaN where the rate before is not known.
    """
    change = np.array([said["actual"] - said.get("previous", np.nan) for _, said in releases])
    steps: Floats = np.clip(change * 100 / 25, -2, 2)
    return steps / 2


def scores(releases: Sequence[Release]) -> Floats:
    """Return the score that a feed brings for each statement, within ±1 ``[R]``."""
    return np.clip(np.array([said["score"] for _, said in releases], dtype=np.float64), -1, 1)


def _moments(releases: Sequence[Release]) -> Moments:
    return np.array([when for when, _ in releases], dtype="datetime64[us]")
