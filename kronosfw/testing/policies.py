"""The contract of a checkpoint policy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ..interfaces import CheckpointPolicy, CheckpointPolicyConfig
from ..types import Checkpoint
from .base import ComponentContract

NOW = datetime(2025, 6, 30, 12, tzinfo=UTC)


class CheckpointPolicyContract(ComponentContract):
    """Serves only what fits the asset class, never deletes the pooled base, never admits nonsense."""

    kind = "checkpoint_policy"

    @pytest.fixture
    def policy(self, options: CheckpointPolicyConfig) -> CheckpointPolicy:
        return options.build()

    @pytest.fixture
    def checkpoints(self) -> list[Checkpoint]:
        """Return twelve checkpoints of each of two classes and two pooled ones."""
        months = [f"2024-{month:02d}-01-0001" for month in range(1, 13)]
        rolling = [_checkpoint(m, c) for m in months for c in ("crypto", "equity")]
        return [_checkpoint("2023-01-01-0001", None), _checkpoint("2023-06-01-0001", None), *rolling]

    def test_selects_for_the_asset_class(self, policy: CheckpointPolicy, checkpoints: Sequence[Checkpoint]) -> None:
        chosen = policy.select("crypto", checkpoints)
        assert chosen is not None
        assert chosen in checkpoints
        assert chosen.asset_class in ("crypto", None)

    def test_falls_back_to_the_pooled_base(
        self, policy: CheckpointPolicy, checkpoints: Sequence[Checkpoint]
    ) -> None:
        chosen = policy.select("forex", checkpoints)
        assert chosen is None or chosen.asset_class is None
        assert policy.select("forex", []) is None

    def test_order_does_not_matter(self, policy: CheckpointPolicy, checkpoints: Sequence[Checkpoint]) -> None:
        assert policy.select("equity", checkpoints) == policy.select("equity", checkpoints[::-1])

    def test_expires_old_ones_but_never_the_base(
        self, policy: CheckpointPolicy, checkpoints: Sequence[Checkpoint]
    ) -> None:
        expired = policy.expire(checkpoints)
        assert all(c in checkpoints and c.asset_class is not None for c in expired)
        served = [policy.select(name, checkpoints) for name in ("crypto", "equity")]
        assert not any(c in served for c in expired)

    def test_never_admits_what_is_not_finite(
        self, policy: CheckpointPolicy, checkpoints: Sequence[Checkpoint]
    ) -> None:
        *_, incumbent, candidate = [c for c in checkpoints if c.asset_class == "crypto"]
        scores = _scores([incumbent.version, candidate.version, checkpoints[0].version])
        scores.loc[scores["version"] == candidate.version, "crps"] = np.nan
        verdict = policy.admit(candidate, incumbent, checkpoints[0], scores)
        assert not verdict.accepted
        assert verdict.reasons

    def test_due_is_settled_by_time(self, policy: CheckpointPolicy) -> None:
        assert policy.due([], NOW), "without any training one is due"
        assert not policy.due([NOW], NOW + timedelta(minutes=1))
        later = [policy.due([NOW], NOW + timedelta(days=days)) for days in range(0, 800, 10)]
        assert later == sorted(later), "what is due stays due"
        assert later[-1]


def _checkpoint(version: str, asset_class: str | None) -> Checkpoint:
    return Checkpoint(version, Path("checkpoints") / (asset_class or "base") / version, "any", asset_class)


def _scores(versions: Sequence[str]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    days = pd.date_range("2025-01-01", periods=60, tz="UTC").as_unit("us")
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "version": version,
                    "symbol": "S0",
                    "as_of": days,
                    "step": 1,
                    "crps": rng.uniform(0.005, 0.006, len(days)),
                    "abs_error": rng.uniform(0.01, 0.012, len(days)),
                    "covered": rng.random(len(days)) < 0.8,
                    "event_active": False,
                }
            )
            for version in versions
        ],
        ignore_index=True,
    )
