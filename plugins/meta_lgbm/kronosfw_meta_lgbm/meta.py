"""The ensembler ``meta_lgbm`` at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from kronosfw.past import Past
from kronosfw.types import Floats, Forecast, Window

from .features import Observed, names
from .learner import Learner, equal
from .learning import Lesson, Task
from .mixing import losses, shrunk, slopes, softmax
from .static import base_scores

STRONGEST = 5
"""Features whose contributions are told."""


@dataclass(frozen=True)
class Mixing:
    """Weights of the members that make the pinball loss of their mean small."""

    shares: ClassVar[tuple[float, ...]] = (0.25, 0.5, 0.75, 1.0)

    quantiles: Floats
    outcome: Floats
    levels: Sequence[float]

    @property
    def _there(self) -> NDArray[np.bool_]:
        return np.isfinite(self.quantiles[..., 0])

    def __getitem__(self, rows: NDArray[np.bool_]) -> Self:
        return type(self)(self.quantiles[rows], self.outcome[rows], self.levels)

    def base(self, near: Floats | None = None) -> Floats:
        return base_scores(self.quantiles, self.outcome, self.levels, self._there, near)

    def slopes(self, scores: Floats) -> tuple[Floats, Floats]:
        return slopes(scores, self.quantiles, self.outcome, self.levels, self._there)

    def losses(self, scores: Floats, share: float) -> Floats:
        weights = shrunk(softmax(scores, self._there), self._there, share)
        return losses(weights, self.quantiles, self.outcome, self.levels)


class MetaLearner(Learner):
    """Mean of quantiles with weights for each symbol and step."""

    def task(self, past: Past) -> Task:
        return Mixing(*past.scaled, past.levels)

    def weigh(
        self, lesson: Lesson, window: Window, members: Sequence[Forecast], seen: Sequence[Observed]
    ) -> tuple[Floats, list[dict[str, Any]]]:
        present, known = [m.model for m in members], self.learned.members
        if lesson.share == 0:
            note = "equal weights: on days past, nothing learned did better"
            return equal(window, members), [{"note": note}] * window.horizon
        there = np.tile([name in present for name in known], (window.horizon, 1))
        features = self.features(window, members, seen)
        place = [known.index(name) if name in known else len(known) for name in present]
        weights = np.column_stack([weights_of(lesson, features, there), np.zeros(window.horizon)])[:, place]
        told = names(known, self._options.channels)
        parts = lesson.trees.contributions(features)
        return weights, [{"contributions": strongest(row, told, known)} for row in parts]


def weights_of(lesson: Lesson, features: Floats, there: NDArray[np.bool_]) -> Floats:
    """Return the weights ``[N, K]`` of the members that are there, for features ``[N, F]``."""
    return shrunk(softmax(lesson.scores(features), there), there, lesson.share)


def strongest(parts: Floats, features: Sequence[str], members: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return by feature and member what moved the scores most, of the contributions ``[K, F]``."""
    size = np.abs(parts).max(axis=0)
    order = [i for i in np.argsort(-size, kind="stable")[:STRONGEST].tolist() if size[i] > 0]
    return {features[i]: dict(zip(members, parts[:, i].round(4).tolist(), strict=True)) for i in order}
