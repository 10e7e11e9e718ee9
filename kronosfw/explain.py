"""How much each group of event channels moved a forecast: exact Shapley values over the groups.

A group's part is what it adds to p10, p50 and p90, averaged over all orders in which the groups may become known.
What is not known yet is masked, and nothing else about the window changes: the seed stays, so that a model that
samples draws the same numbers each time and no difference is noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations
from math import comb

import numpy as np

from .interfaces import Forecaster
from .members import Member, forecast_all, in_batches
from .reading import Failure, Progress
from .types import ENVELOPE, Floats, Forecast, Window

Coalition = frozenset[str]
MOST_GROUPS = 8
"""Groups at most: each doubles the number of forecasts, and 8 take 256."""


def coalitions(groups: Sequence[str]) -> Iterator[Coalition]:
    """Yield every subset of the groups, the empty one first and the whole last."""
    return map(frozenset, chain.from_iterable(combinations(groups, size) for size in range(len(groups) + 1)))


def shapley(values: Mapping[Coalition, Floats], groups: Sequence[str]) -> dict[str, Floats]:
    """Return each group's Shapley value, an array like those in ``values``, which holds one for every coalition.

    φ_g = Σ_S |S|! (n − |S| − 1)! / n! · (v(S ∪ {g}) − v(S)), over the coalitions S without g of the n groups
    (Shapley, Contributions to the Theory of Games II, 1953; for models Lundberg and Lee, NeurIPS 2017). Efficient:
    they sum to v(all) − v(none), but for rounding.
    """
    found = {}
    for group in groups:
        others = [other for other in groups if other != group]
        gains = [(values[s | {group}] - values[s]) / comb(len(others), len(s)) for s in coalitions(others)]
        found[group] = np.sum(gains, axis=0) / len(groups)
    return found


def groups_of(window: Window) -> tuple[str, ...]:
    """Return the groups of channels of which anything is known in the window, in the encoders' order.

    A known 0 counts: a model may read the mask.
    """
    known = window.covariates
    if known is None:
        return ()
    columns = zip(known.groups, known.mask.T, strict=True)
    return tuple(dict.fromkeys(group for group, masked in columns if not masked.all()))


def explain_members(
    members: Sequence[Member],
    windows: Mapping[str, Window],
    forecasts: Sequence[Forecast],
    batch: int,
    progress: Progress,
) -> tuple[list[Forecast], list[Failure]]:
    """Return the forecasts in their order, the members' explained; what cannot be explained is set apart."""
    explained: dict[tuple[str, str], Forecast] = {}
    failures: list[Failure] = []
    for member in members:
        own = {f.symbol: f for f in forecasts if f.model == member.name}
        found, failed = _explain_member(member, [windows[symbol] for symbol in own], own, batch, progress)
        explained |= {(f.symbol, f.model): f for f in found}
        failures += [replace(f, reason=f"not explained: {f.reason}") for f in failed]
    return [explained.get((f.symbol, f.model), f) for f in forecasts], failures


def _explain_member(
    member: Member, windows: Sequence[Window], own: Mapping[str, Forecast], batch: int, progress: Progress
) -> tuple[list[Forecast], list[Failure]]:
    before = 0

    def done(count: int, more: float = 0.0) -> None:
        nonlocal before
        before = count
        progress(f"explaining {member.name}", count + int(more), len(windows))

    def call(forecaster: Forecaster, part: Sequence[Window]) -> list[Forecast]:
        forecasts = [own[window.symbol] for window in part]
        return explain(forecaster, part, forecasts, lambda share: done(before, share * len(part)))

    return in_batches(member, windows, batch, call, "explain", done)


def explain(
    forecaster: Forecaster, windows: Sequence[Window], forecasts: Sequence[Forecast], told: Callable[[float], None]
) -> list[Forecast]:
    """Return the windows' forecasts with ``moved`` and ``without`` in the ``event_context`` of each step.

    ``moved`` holds what each group adds to p10, p50 and p90 of the close, in units of price; ``without`` is the
    envelope with nothing known. ``told`` gets the share of the work that is done. Raises ValueError where a window
    has too many groups.
    """
    known = [groups_of(window) for window in windows]
    for groups in known:
        if len(groups) > MOST_GROUPS:
            raise ValueError(
                f"{len(groups)} groups of event channels are more than the {MOST_GROUPS} that can be told apart: "
                f"{', '.join(groups)}"
            )
    values = _values(forecaster, windows, forecasts, known, told)
    return [_explained(*one) for one in zip(forecasts, values, known, strict=True)]


def _values(
    forecaster: Forecaster,
    windows: Sequence[Window],
    forecasts: Sequence[Forecast],
    known: Sequence[tuple[str, ...]],
    told: Callable[[float], None],
) -> list[dict[Coalition, Floats]]:
    """Return each window's envelope ``[H, 3]`` for every coalition of its groups.

    The forecaster is asked for the levels of the forecasts, so that the covariates are all that differs. Where
    knowing nothing changes no bit of any envelope, the model reads no covariates and nothing more is tried.
    """
    full = [forecast.at(ENVELOPE) for forecast in forecasts]
    values = [{frozenset(groups): envelope} for groups, envelope in zip(known, full, strict=True)]
    todo = dict.fromkeys(chain.from_iterable(map(coalitions, dict.fromkeys(known))))
    for number, coalition in enumerate(todo):
        lacking = [i for i, groups in enumerate(known) if coalition < set(groups)]
        if lacking:
            parts = [_knowing(windows[i], coalition) for i in lacking]
            for i, found in zip(lacking, forecast_all(forecaster, parts, forecasts[0].levels), strict=True):
                values[i][coalition] = found.at(ENVELOPE)
        if not coalition and all(map(np.array_equal, full, (v[coalition] for v in values))):
            return [dict.fromkeys(coalitions(groups), same) for groups, same in zip(known, full, strict=True)]
        told((number + 1) / len(todo))
    return values


def _knowing(window: Window, coalition: Coalition) -> Window:
    """Return the window with nothing known but these groups."""
    covariates = window.covariates
    return replace(window, covariates=covariates and covariates.without(set(covariates.groups) - coalition))


def _explained(forecast: Forecast, values: Mapping[Coalition, Floats], groups: Sequence[str]) -> Forecast:
    moved = shapley(values, groups)
    without = values[frozenset()]
    steps = [
        {"moved": {group: moved[group][step].tolist() for group in groups}, "without": without[step].tolist()}
        for step in range(len(forecast.time))
    ]
    merged = [theirs | ours for theirs, ours in zip(forecast.steps, steps, strict=True)]
    return replace(forecast, event_context={**forecast.event_context, "steps": merged})
