"""TimesFM 2.5: single series, with a regression on covariates before it where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path

import numpy as np
from timesfm import ForecastConfig, TimesFM_2p5_200M_torch

from kronosfw.types import Floats

from .networks import PATCH, device_of, loaded, patches
from .options import TimesFm
from .series import Series


class TimesFm25:
    """The published model with its continuous quantile head."""

    def __init__(self, folder: Path, options: TimesFm) -> None:
        self._options = options
        self._model = loaded(
            folder, "2.5", lambda: TimesFM_2p5_200M_torch.from_pretrained(str(folder), torch_compile=False)
        )
        network = self._model.model
        # The package takes every GPU it sees, and multiplies its batches by their number.
        network.device, network.device_count = device_of(options.device), 1
        network.to(network.device)

    def room(self, horizon: int) -> int:
        """Return the most values of context beside a horizon; raises ValueError if the horizon is too long."""
        network = self._model.model
        if horizon > network.os:
            raise ValueError(
                f"{horizon} steps are asked for, and TimesFM 2.5 gives quantiles of {network.os}; "
                "shorten the horizon, or use longer bars"
            )
        return int(network.config.context_limit - -(-horizon // network.o) * network.o)

    def deciles(self, batch: Sequence[Series]) -> Floats:
        """Return standardised deciles ``[N, H, 9]`` that increase; see ``Network``."""
        if self._options.xreg and len(batch[0].channels.known):
            # The package fits one regression to all series of a call.
            return np.stack([self._regressed(series) for series in batch])
        horizon = batch[0].horizon
        # The list is the package's to keep: it may append to it.
        _, found = self._compiled(batch).forecast(horizon, [series.values for series in batch])
        return np.asarray(found[:, :, 1:], dtype=np.float64)

    def _regressed(self, series: Series) -> Floats:
        known = series.channels.known
        _, (found,) = self._compiled([series], backcast=True).forecast_with_covariates(
            [series.values],
            dynamic_numerical_covariates={f"{i:02}": [row] for i, row in enumerate(known.values)},
            ridge=self._options.ridge,
            force_on_cpu=True,
        )
        return np.asarray(found[:, 1:], dtype=np.float64)

    def _compiled(self, batch: Sequence[Series], backcast: bool = False) -> TimesFM_2p5_200M_torch:
        """Return the model made ready for a batch: a copy that shares the weights, so that threads do not meet."""
        model = copy(self._model)
        model.compile(
            ForecastConfig(
                max_context=patches(len(batch[0].values)) * PATCH,
                max_horizon=batch[0].horizon,
                per_core_batch_size=len(batch),
                use_continuous_quantile_head=True,
                force_flip_invariance=self._options.symmetric,
                # The package would take the padding for prices, and test what is standardised for its sign.
                normalize_inputs=False,
                infer_is_positive=False,
                fix_quantile_crossing=True,
                return_backcast=backcast,
            )
        )
        return model
