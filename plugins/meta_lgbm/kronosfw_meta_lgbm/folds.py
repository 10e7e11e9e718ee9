"""Choosing by validation, in order of time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from kronosfw.types import Floats, Moments

Rows = NDArray[np.bool_]


def purged(as_of: Moments, realised_at: Moments, folds: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield the rows ``[N]`` to learn from and those that validate, for each span of cutoffs but the first.

    A fold learns from outcomes known by its first cutoff, and from nothing else. A fold with nothing to learn from
    is left out.
    """
    for span in np.array_split(np.unique(as_of), folds + 1)[1:]:
        if len(span):
            learn = realised_at <= span[0]
            if learn.any():
                yield learn, (as_of >= span[0]) & (as_of <= span[-1])


def simplest(losses: Floats, as_of: Moments) -> int:
    """Return the first of the candidates, from the simplest on, that is as good as the best.

    ``losses`` is ``[C, N]``. As good is a mean loss within one standard error of the difference; as rows of one day
    share a market, the error is that of the days' sums (the one-standard-error rule of Breiman et al.,
    Classification and Regression Trees, 1984, on pairs).
    """
    worse = losses - losses[losses.mean(axis=1).argmin()]
    _, day = np.unique(as_of.astype("datetime64[D]"), return_inverse=True)
    mean = worse.mean(axis=1)
    sums = np.stack([np.bincount(day, row) for row in worse - mean[:, None]])
    days = sums.shape[1]
    error = np.sqrt((sums**2).sum(axis=1) * days / max(days - 1, 1)) / losses.shape[1]
    return int(np.argmax(mean <= error))
