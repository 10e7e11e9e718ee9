"""The contract of a trainer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ..interfaces import Trainer, TrainerConfig
from ..plugins import Plugins
from ..types import Example, Snapshot
from .base import ComponentContract
from .market import SmallMarket, cutoff_at

_UNSAFE = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}


class TrainerContract(ComponentContract):
    """Snapshots can be loaded again, and the same data trains the same weights, in one go or in two."""

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
        """Train to the end, and return the snapshots that have weights."""
        out.mkdir(exist_ok=True)
        return [s for s in trainer.train(examples[0], examples[1], start, out) if s.path is not None]

    def test_says_whose_weights_it_makes(self, options: Any, plugins: Plugins) -> None:
        assert options.forecaster in plugins.components["forecaster"], "set `forecaster` to a forecaster's type"

    def test_yields_snapshots_on_disk(self, trainer: Trainer, examples: Any, tmp_path: Path) -> None:
        out = tmp_path / "out"
        found = self.snapshots(trainer, examples, None, out)
        assert found, "a training yields at least one snapshot"
        steps = [s.step for s in found]
        assert steps == sorted(set(steps))
        for snapshot in found:
            assert folder_of(snapshot).is_relative_to(out)
            assert folder_of(snapshot) != out
            assert any(folder_of(snapshot).iterdir())
            assert all(math.isfinite(value) for value in snapshot.metrics.values())
            assert "loss" in snapshot.metrics, "the snapshot with the lowest validation `loss` is kept"
        unsafe = [p.name for p in out.rglob("*") if p.suffix in _UNSAFE]
        assert not unsafe, f"weights are kept as safetensors or text, not as {unsafe}"

    def test_same_data_train_the_same_weights(self, options: Any, examples: Any, tmp_path: Path) -> None:
        one, other = (
            self.snapshots(options.build(), examples, None, tmp_path / name)[-1] for name in ("one", "other")
        )
        assert one.metrics == other.metrics
        assert weights(one) == weights(other)

    def test_a_training_that_was_stopped_ends_with_the_same_weights(
        self, options: Any, examples: Any, tmp_path: Path
    ) -> None:
        """Leave after the first snapshot and start again in the same folder."""
        whole, halves = tmp_path / "whole", tmp_path / "halves"
        undisturbed = self.snapshots(options.build(), examples, None, whole)[-1]
        halves.mkdir()
        stopped = iter(options.build().train(examples[0], examples[1], None, halves))
        first = next(snapshot for snapshot in stopped if snapshot.path is not None)
        getattr(stopped, "close", lambda: None)()
        *_, last = first, *self.snapshots(options.build(), examples, None, halves)
        assert last.metrics == undisturbed.metrics
        assert weights(last) == weights(undisturbed)

    def test_goes_on_from_a_snapshot(self, trainer: Trainer, examples: Any, tmp_path: Path) -> None:
        first = self.snapshots(trainer, examples, None, tmp_path / "first")[-1]
        assert self.snapshots(trainer, examples, folder_of(first), tmp_path / "second")

    def test_what_it_blends_depends_on_the_ends_and_the_share_alone(
        self, options: Any, trainer: Trainer, examples: Any, tmp_path: Path
    ) -> None:
        """Of a trainer that has ``blend``: it leaves both ends as they are, and files as safe as a snapshot's."""
        if not hasattr(trainer, "blend"):
            pytest.skip("this trainer does not blend")
        start = self.snapshots(trainer, examples, None, tmp_path / "first")[-1]
        end = self.snapshots(trainer, examples, folder_of(start), tmp_path / "second")[-1]
        before = weights(start), weights(end)
        for share in (0, 0.5, 1, 1.5):
            for origin in (folder_of(start), None):
                found: list[dict[str, bytes]] = []
                for maker in (trainer, options.build()):
                    out = tmp_path / f"{share} {origin is None} {len(found)}"
                    out.mkdir()
                    maker.blend(origin, folder_of(end), share, out)
                    found.append(contents(out))
                assert found[0], "the folder of a checkpoint holds something"
                assert found[0] == found[1]
                assert not [name for name in found[0] if Path(name).suffix in _UNSAFE]
        assert (weights(start), weights(end)) == before

    def test_inputs_are_not_changed(self, trainer: Trainer, examples: Any, tmp_path: Path) -> None:
        before = [e.window.bars.values.tobytes() + e.target.values.tobytes() for part in examples for e in part]
        self.snapshots(trainer, examples, None, tmp_path / "out")
        after = [e.window.bars.values.tobytes() + e.target.values.tobytes() for part in examples for e in part]
        assert after == before


def folder_of(snapshot: Snapshot) -> Path:
    """Return the folder of a snapshot that has weights."""
    assert snapshot.path is not None
    return snapshot.path


def weights(snapshot: Snapshot) -> dict[str, bytes]:
    """Return the content of a snapshot's files by relative path."""
    return contents(folder_of(snapshot))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of the files in a folder by relative path."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
