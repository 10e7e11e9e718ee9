"""What is learned of one asset class, or of all together, and how much of it is believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from kronosfw.types import Floats, Moments

from .folds import purged, simplest
from .options import Boosted
from .trees import Trees, boosted


class Task(Protocol):
    """Rows N with something to predict from scores ``[N, K]``."""

    shares: ClassVar[tuple[float, ...]]
    """How far from knowing nothing to what the scores say: the candidates, besides 0."""

    def __getitem__(self, rows: NDArray[np.bool_]) -> Self: ...

    def base(self, near: Floats | None = None) -> Floats:
        """Return the best scores ``[K]`` that are the same in all rows; little data leave them ``near`` others."""
        ...

    def slopes(self, scores: Floats) -> tuple[Floats, Floats]:
        """Return gradient and curvature of the loss ``[N, K]``."""
        ...

    def losses(self, scores: Floats, share: float) -> Floats:
        """Return the loss of each row ``[N]``; with a share of 0 the scores do not matter."""
        ...


@dataclass(frozen=True)
class Lesson:
    """What was learned from some rows: scores are ``base`` and what the trees add."""

    labels: int
    """Scored predictions it was learned from."""
    rounds: int
    share: float
    """How much of it is believed, from 0 to 1."""
    base: Floats
    """Those of each asset class by its number, and last of all together ``[C + 1, K]``."""
    trees: Trees

    def scores(self, features: Floats) -> Floats:
        """Return the scores ``[N, K]`` for features ``[N, F]``."""
        return _in_rows(self.base, features) + self.trees.scores(features)


def _by_class(task: Task, features: Floats, classes: int) -> Floats:
    """Return the best scores of each class, near those of all where it has few rows ``[C + 1, K]``."""
    pooled = task.base()
    mine = [features[:, -1] == number for number in range(classes)]
    return np.stack([*(task[rows].base(pooled) if rows.any() else pooled for rows in mine), pooled])


def _in_rows(base: Floats, features: Floats) -> Floats:
    """Return for each row the scores of its class, which the last feature numbers ``[N, K]``."""
    number = features[:, -1]
    rows: Floats = base[np.where(np.isfinite(number), number, len(base) - 1).astype(np.intp)]
    return rows


def learn(
    task: Task, features: Floats, as_of: Moments, realised_at: Moments, classes: int, options: Boosted
) -> Lesson:
    """Learn from all rows, of so many classes.

    There are as many rounds, and as much is believed, as validation in order of time supports. Where there is
    nothing to validate with, nothing is believed.
    """
    grid = sorted({options.rounds * part // 8 for part in (0, 1, 2, 4, 8)})
    candidates = [(0, 0.0), *((rounds, share) for rounds in grid for share in task.shares)]
    losses, moments = [], []
    for seen, ahead in purged(as_of, realised_at, options.folds):
        lesson, exam = task[seen], task[ahead]
        base = _by_class(lesson, features[seen], classes)
        trees = boosted(options, features[seen], _in_rows(base, features[seen]), lesson.slopes, grid[-1])
        start = _in_rows(base, features[ahead])
        scores = {rounds: start + trees.scores(features[ahead], rounds) for rounds in grid}
        losses.append(np.stack([exam.losses(scores[rounds], share) for rounds, share in candidates]))
        moments.append(as_of[ahead])
    rounds, share = candidates[simplest(np.hstack(losses), np.concatenate(moments))] if losses else (0, 0.0)
    base = _by_class(task, features, classes)
    trees = boosted(options, features, _in_rows(base, features), task.slopes, rounds)
    return Lesson(len(features), rounds, share, base, trees)
