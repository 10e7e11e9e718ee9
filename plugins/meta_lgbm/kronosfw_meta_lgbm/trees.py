"""Boosted trees: trained the same way on every machine, kept and served as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightgbm
import numpy as np

from kronosfw.types import Floats

from .options import Boosted

Slopes = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Trees:
    """Trees for K outputs as LightGBM writes them; none where the text is empty."""

    text: str
    outputs: int

    @cached_property
    def _booster(self) -> lightgbm.Booster:
        return lightgbm.Booster(model_str=self.text)

    def scores(self, features: Floats, rounds: int | None = None) -> Floats:
        """Return what the trees, or those of the first rounds, add to the scores ``[N, K]``."""
        if not self.text or rounds == 0:
            return np.zeros((len(features), self.outputs))
        told = self._booster.predict(features, raw_score=True, num_iteration=rounds, num_threads=1)
        return np.asarray(told).reshape(len(features), self.outputs)

    def contributions(self, features: Floats) -> Floats:
        """Return how much of that is due to each feature ``[N, K, F]``.

        They are SHAP values (Lundberg et al., Nature Machine Intelligence 2, 2020).
        """
        n, f = features.shape
        if not self.text:
            return np.zeros((n, self.outputs, f))
        told: Floats = np.asarray(self._booster.predict(features, pred_contrib=True, num_threads=1))
        return told.reshape(n, self.outputs, f + 1)[..., :-1]


def boosted(options: Boosted, features: Floats, base: Floats, slopes: Slopes, rounds: int) -> Trees:
    """Return trees for K outputs trained on features ``[N, F]`` from the scores ``base [N, K]`` on.

    ``slopes`` gives gradient and curvature ``[N, K]`` for scores. The last feature is a category. What serves is
    read back from text, here as in another process.
    """
    n, k = base.shape
    if rounds == 0:
        return Trees("", k)

    def objective(scores: Floats, _: lightgbm.Dataset) -> tuple[Floats, Floats]:
        gradient, curvature = slopes(scores.reshape(n, k))
        return (gradient, curvature) if k > 1 else (gradient[:, 0], curvature[:, 0])

    parameters: dict[str, Any] = {
        "num_class": k,
        "num_leaves": options.leaves,
        "min_data_in_leaf": options.leaf_rows,
        "learning_rate": options.learning_rate,
        "max_bin": 63,
        "seed": 0,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "feature_pre_filter": False,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(
        features,
        label=np.zeros(n),
        init_score=base if k > 1 else base[:, 0],
        categorical_feature=[features.shape[1] - 1],
        params=parameters,
    )
    booster = lightgbm.train(parameters | {"objective": objective}, data, num_boost_round=rounds)
    return Trees(booster.model_to_string(), k)
