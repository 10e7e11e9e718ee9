"""The contract of a trainer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ..interfaces import Trainer, TrainerConfig
from ..types import Example, Snapshot
from .base import ComponentContract
from .market import SmallMarket, cutoff_at

_UNSAFE = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}


class TrainerContract(ComponentContract):
    """Snapshots can be loaded again, and the same data trains the same weights."""

    kind = "trainer"
    context: ClassVar[int] = 128
    horizon: ClassVar[int] = 5

    @pytest.fixture
    def trainer(self, options: TrainerConfig) -> Trainer:
        return options.build()

    @pytest.fixture
    def examples(self) -> tuple[list[Example], list[Example]]:
        """Return examples to train and to validate with."""
        market = SmallMarket.make(n_symbols=2, n=self.context + 120)
        times = market.bars["S0"].times
        shape: dict[str, Any] = {"context": self.context, "horizon": self.horizon}
        origins = [cutoff_at(times, self.context + 5 * i) for i in range(20)]
        return market.examples(origins[:14], **shape), market.examples(origins[16:], **shape)

    def snapshots(self, trainer: Trainer, examples: Any, start: Path | None, out: Path) -> list[Snapshot]:
        """Train to the end."""
        out.mkdir()
        return list(trainer.train(examples[0], examples[1], start, out))

    def test_yields_snapshots_on_disk(self, trainer: Trainer, examples: Any, tmp_path: Path) -> None:
        out = tmp_path / "out"
        found = self.snapshots(trainer, examples, None, out)
        assert found, "a training yields at least one snapshot"
        steps = [s.step for s in found]
        assert steps == sorted(set(steps))
        for snapshot in found:
            assert snapshot.path.is_relative_to(out)
            assert any(snapshot.path.iterdir())
            assert all(math.isfinite(value) for value in snapshot.metrics.values())
        unsafe = [p.name for p in out.rglob("*") if p.suffix in _UNSAFE]
        assert not unsafe, f"weights are kept as safetensors or text, not as {unsafe}"

    def test_same_data_train_the_same_weights(self, options: Any, examples: Any, tmp_path: Path) -> None:
        one, other = (
            self.snapshots(options.build(), examples, None, tmp_path / name)[-1] for name in ("one", "other")
        )
        assert one.metrics == other.metrics
        files = sorted(p.relative_to(one.path) for p in one.path.rglob("*") if p.is_file())
        assert files == sorted(p.relative_to(other.path) for p in other.path.rglob("*") if p.is_file())
        for name in files:
            if name.suffix == ".safetensors":
                assert (one.path / name).read_bytes() == (other.path / name).read_bytes()

    def test_goes_on_from_a_snapshot(self, trainer: Trainer, examples: Any, tmp_path: Path) -> None:
        first = self.snapshots(trainer, examples, None, tmp_path / "first")[-1]
        assert self.snapshots(trainer, examples, first.path, tmp_path / "second")

    def test_inputs_are_not_changed(self, trainer: Trainer, examples: Any, tmp_path: Path) -> None:
        before = [e.window.bars.values.tobytes() + e.target.values.tobytes() for part in examples for e in part]
        self.snapshots(trainer, examples, None, tmp_path / "out")
        after = [e.window.bars.values.tobytes() + e.target.values.tobytes() for part in examples for e in part]
        assert after == before
