"""The contract of a checkpoint policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ..interfaces import CheckpointPolicy, CheckpointPolicyConfig
from ..types import Checkpoint, Entry, Trial, Verdict
from .base import ComponentContract

NOW = datetime(2025, 6, 30, 12, tzinfo=UTC)
DAYS = 60


class CheckpointPolicyContract(ComponentContract):
    """Serves only what fits the asset class, never deletes the pooled base, never admits nonsense."""

    kind = "checkpoint_policy"

    @pytest.fixture
    def policy(self, options: CheckpointPolicyConfig) -> CheckpointPolicy:
        return options.build()

    @pytest.fixture
    def checkpoints(self) -> list[Checkpoint]:
        """Return twelve checkpoints of each of two classes and two pooled ones; the newest of each is active."""
        months = [f"2024-{month:02d}-01-0001" for month in range(1, 13)]
        rolling = [_checkpoint(m, c, m == months[-1]) for m in months for c in ("crypto", "equity")]
        pooled = [_checkpoint("2023-01-01-0001", None, False), _checkpoint("2023-06-01-0001", None, True)]
        return [*pooled, *rolling]

    @pytest.fixture
    def trial(self, checkpoints: Sequence[Checkpoint]) -> Trial:
        """Return a candidate that is a little better than what serves."""
        *_, incumbent, last = [c for c in checkpoints if c.asset_class == "crypto"]
        candidate = replace(last, state="candidate", active=False)
        scores = _scores(("candidate", "incumbent", "base"))
        scores.loc[scores["arm"] == "candidate", ["crps", "abs_error"]] *= 0.97
        return Trial(candidate, incumbent, checkpoints[1], scores, NOW)

    def test_selects_for_the_asset_class(self, policy: CheckpointPolicy, checkpoints: Sequence[Checkpoint]) -> None:
        offered = _offered("crypto", checkpoints)
        assert policy.select("crypto", offered) in offered

    def test_falls_back_to_the_pooled_base(
        self, policy: CheckpointPolicy, checkpoints: Sequence[Checkpoint]
    ) -> None:
        offered = _offered("forex", checkpoints)
        assert policy.select("forex", offered) in (None, *offered)
        assert policy.select("forex", []) is None

    def test_order_does_not_matter(self, policy: CheckpointPolicy, checkpoints: Sequence[Checkpoint]) -> None:
        offered = _offered("equity", checkpoints)
        assert policy.select("equity", offered) == policy.select("equity", offered[::-1])

    def test_expires_old_ones_but_never_the_base(
        self, policy: CheckpointPolicy, checkpoints: Sequence[Checkpoint]
    ) -> None:
        for name in ("crypto", "equity"):
            offered = _offered(name, checkpoints)
            expired = policy.expire(offered)
            assert all(c in offered and c.asset_class == name for c in expired)
            assert policy.select(name, offered) not in expired

    def test_a_verdict_says_what_it_rests_on(self, policy: CheckpointPolicy, trial: Trial) -> None:
        verdict = policy.admit(trial)
        _assert_tells(verdict)
        if verdict.accepted:
            assert all(check.passed for check in verdict.checks)

    def test_a_verdict_depends_on_the_trial_alone(self, policy: CheckpointPolicy, trial: Trial) -> None:
        shuffled = trial.scores.sample(frac=1, random_state=0)
        assert policy.admit(replace(trial, scores=shuffled)).accepted == policy.admit(trial).accepted
        assert policy.admit(trial) == policy.admit(trial)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_never_admits_what_is_not_finite(self, policy: CheckpointPolicy, trial: Trial, value: float) -> None:
        scores = trial.scores.copy()
        scores.loc[scores.index[scores["arm"] == "candidate"][0], "crps"] = value
        verdict = policy.admit(replace(trial, scores=scores))
        assert not verdict.accepted
        _assert_tells(verdict)

    def test_never_admits_what_has_a_fault(self, policy: CheckpointPolicy, trial: Trial) -> None:
        verdict = policy.admit(replace(trial, faults=("frozen weights changed",)))
        assert not verdict.accepted
        assert any("frozen weights changed" in reason for reason in verdict.reasons)

    def test_chooses_among_its_shares(self, policy: CheckpointPolicy) -> None:
        shares = list(policy.shares)
        assert shares == sorted(set(shares))
        if shares:
            assert policy.share(_scores(shares, "share")) in shares

    @pytest.mark.parametrize("days", [1, 5, DAYS])
    def test_watches_without_an_end_or_reaches_a_verdict(self, policy: CheckpointPolicy, days: int) -> None:
        scores = _scores(("serving", "previous"))
        known = scores[scores["as_of"] < scores["as_of"].min() + pd.Timedelta(days=days)]
        verdict = policy.watch(known)
        if verdict is not None:
            _assert_tells(verdict)
        assert policy.watch(known) == verdict

    def test_due_is_settled_by_time(self, policy: CheckpointPolicy) -> None:
        slot = policy.due([], NOW)
        assert slot is not None, "without any training one is due"
        assert slot <= NOW
        assert slot.utcoffset() == timedelta(0)
        ended = [Entry(NOW, "promoted", "v1", slot=NOW)]
        assert policy.due(ended, NOW + timedelta(minutes=1)) is None
        slots = [policy.due(ended, NOW + timedelta(days=days)) for days in range(0, 800, 10)]
        due = [moment for moment in slots if moment is not None]
        assert slots[len(slots) - len(due) :] == due, "what is due stays due"
        assert due
        assert all(earlier <= later for earlier, later in pairwise(due))

    @pytest.mark.parametrize("event", ["promoted", "rejected"])
    def test_a_retraining_that_ended_is_not_due_again(self, policy: CheckpointPolicy, event: Any) -> None:
        slot = policy.due([], NOW)
        failed = Entry(NOW, "failed", slot=slot)
        assert policy.due([failed], NOW) == slot, "one that failed is still due"
        assert policy.due([failed, Entry(NOW, event, "v1", slot=slot)], NOW) is None


def _assert_tells(verdict: Verdict) -> None:
    assert verdict.reasons
    assert verdict.checks
    assert all(reason.strip() for reason in verdict.reasons)
    assert all(check.name and check.text.strip() for check in verdict.checks)
    assert all(np.isfinite(value) for value in verdict.numbers.values())


def _checkpoint(version: str, asset_class: str | None, active: bool) -> Checkpoint:
    path = Path("checkpoints") / (asset_class or "base") / version
    return Checkpoint(version, path, "any", asset_class, active=active)


def _offered(asset_class: str, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return what the host offers for an asset class."""
    return [c for c in checkpoints if c.asset_class in (asset_class, None)]


def _scores(arms: Sequence[Any], column: str = "arm") -> pd.DataFrame:
    """Return scores as in ``Trial``, of two symbols and two steps, alike in all arms but for a little noise."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2025-01-01", periods=DAYS, tz="UTC").as_unit("us")
    cells = pd.MultiIndex.from_product([["S0", "S1"], days, [1, 2]], names=["symbol", "as_of", "step"])
    shared = cells.to_frame(index=False)
    shared["day"] = shared["as_of"].dt.tz_localize(None).astype("datetime64[s]")
    shared["crps"] = rng.uniform(0.005, 0.006, len(shared))
    shared["abs_error"] = 2 * shared["crps"]
    shared["covered"] = rng.random(len(shared)) < 0.8
    shared["event_active"] = rng.random(len(shared)) < 0.1
    shared["actual"] = rng.normal(0, 0.01, len(shared))
    frames = []
    for arm in arms:
        noise = rng.normal(1, 0.001, len(shared))
        frames.append(
            shared.assign(**{column: arm}, crps=shared["crps"] * noise, median=rng.normal(0, 0.001, len(shared)))
        )
    return pd.concat(frames, ignore_index=True)
