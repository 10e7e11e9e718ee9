"""The ensembler ``direction_lgbm`` at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from kronosfw.past import Past
from kronosfw.types import ENVELOPE, Floats, Forecast, Window

from .features import Observed
from .learner import Learner
from .learning import Lesson, Task
from .options import DirectionLgbm


@dataclass(frozen=True)
class Direction:
    """Whether the close will be higher: one score, the log odds."""

    shares: ClassVar[tuple[float, ...]] = (1.0,)

    up: Floats
    """1, 0, or a half where the outcome has not moved ``[N]``."""

    def __getitem__(self, rows: NDArray[np.bool_]) -> Self:
        return type(self)(self.up[rows])

    def base(self, near: Floats | None = None) -> Floats:
        # Two more outcomes, so that there is an answer whatever came.
        usual = 0.5 if near is None else float(probability(near)[0])
        rate = (self.up.sum() + 2 * usual) / (len(self.up) + 2)
        return np.array([np.log(rate / (1 - rate))])

    def slopes(self, scores: Floats) -> tuple[Floats, Floats]:
        chance = probability(scores)
        return chance - self.up[:, None], chance * (1 - chance)

    def losses(self, scores: Floats, share: float) -> Floats:
        """Return the logarithmic loss; knowing nothing is to give both sides the same chance."""
        score = share * scores[:, 0]
        loss: Floats = np.logaddexp(0, score) - self.up * score
        return loss


def probability(scores: Floats) -> Floats:
    """Return the chance that belongs to log odds."""
    chance: Floats = 1 / (1 + np.exp(-scores))
    return chance


class DirectionLearner(Learner):
    """One member's forecast for each symbol and step."""

    def __init__(self, options: DirectionLgbm) -> None:
        super().__init__(options)
        self._threshold = options.threshold

    def task(self, past: Past) -> Task:
        return Direction((np.sign(past.outcome) + 1) / 2)

    def weigh(
        self, lesson: Lesson, window: Window, members: Sequence[Forecast], seen: Sequence[Observed]
    ) -> tuple[Floats, list[dict[str, Any]]]:
        features = self.features(window, members, seen)
        up = probability(lesson.share * lesson.scores(features)[:, 0])
        return chosen(window, members, up, self._threshold), [{"up": chance} for chance in up.tolist()]


def chosen(window: Window, members: Sequence[Forecast], up: Floats, threshold: float) -> Floats:
    """Return weights ``[H, M]``, 1 for the member that serves, given the probability of a rise ``[H]``.

    That is the one whose median goes farthest to the expected side in units of its own width; where neither side
    has ``threshold``, it is the widest.
    """
    envelope = np.stack([m.at(ENVELOPE) for m in members], axis=1)
    width = envelope[..., 2] - envelope[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        lean = np.nan_to_num((envelope[..., 1] - window.bars.close[-1]) / width)
    side = np.where(up >= 0.5, 1, -1)[:, None]
    sure = np.maximum(up, 1 - up)[:, None] >= threshold
    serves = np.where(sure, side * lean, width).argmax(axis=1)
    weights: Floats = np.eye(len(members))[serves]
    return weights
