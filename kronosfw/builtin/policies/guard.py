"""The verdict on a candidate: hard stops, then non-inferiority."""

from __future__ import annotations

from collections.abc import Iterator

from ...types import Check, Trial, Verdict
from .gains import gains
from .hard_stops import faults, finite, mae
from .options import Cadence, Guard, Noninferiority
from .panel import ARMS, Panel, panel


def admit(guard: Guard, cadence: Cadence, trial: Trial) -> Verdict:
    """Judge a candidate by all checks that are on; it takes every one of them.

    Faults and scores that are not finite end it there: nothing can be measured by them.
    """
    checks = [faults(trial), finite(trial.scores)]
    numbers: dict[str, float] = {}
    if checks[-1].passed:
        paired = panel(trial.scores, ARMS)
        checks += _comparisons(guard, paired)
        numbers = {"days": float(paired.days), **gains(cadence, guard.noninferiority or Noninferiority(), trial)}
    failed = tuple(check.text for check in checks if not check.passed)
    return Verdict(not failed, failed or tuple(check.text for check in checks[2:]), tuple(checks), numbers)


def _comparisons(guard: Guard, paired: Panel) -> Iterator[Check]:
    yield mae(paired, "incumbent", guard.mae)
    yield mae(paired, "base", guard.mae)
    if guard.noninferiority is not None:
        from .noninferiority import noninferiority

        yield from noninferiority(guard.noninferiority, paired)
