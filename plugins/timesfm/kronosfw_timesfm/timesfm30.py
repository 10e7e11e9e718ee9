"""TimesFM 3.0: a series and its covariates in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timesfm3 import TimesFM3Forecaster

from kronosfw.types import Floats

from .covariates import Block
from .deciles import DECILES
from .networks import PATCH, check_names, device_of, loaded, patches
from .options import WEIGHTS, TimesFm
from .series import Series

ROOM = WEIGHTS["3.0"].max_context or 0


class TimesFm30:
    """The published model, called below the package's own batching.

    ``predict_batch`` knows no mask of covariates, and takes the horizon from their width where the two differ.
    """

    def __init__(self, folder: Path, options: TimesFm) -> None:
        self._options, self._device = options, device_of(options.device)
        self._model = loaded(folder, "3.0", lambda: self._load(folder))

    def _load(self, folder: Path) -> Any:
        device = str(self._device)
        model = TimesFM3Forecaster.from_pretrained(str(folder), device=device, local_files_only=True).model
        check_names(folder, model)
        if not np.allclose(model.quantiles, DECILES) or model.input_patch_len != PATCH:
            raise ValueError("the model gives other quantiles than the deciles, or reads other patches")
        return model

    def room(self, horizon: int) -> int:
        """Return the most values of context; any horizon will do."""
        return ROOM

    def deciles(self, batch: Sequence[Series]) -> Floats:
        """Return standardised deciles ``[N, H, 9]`` that increase; see ``Network``."""
        width, horizon = patches(len(batch[0].values)) * PATCH, batch[0].horizon
        target = self._stacked([series.values[None] for series in batch], width)
        padding = self._stacked([np.zeros(len(series.values), np.bool_) for series in batch], width, True)
        past = self._blocks([series.channels.past for series in batch], width)
        known = self._blocks([series.channels.known for series in batch], width + horizon)

        def decode(sign: int) -> Floats:
            with torch.inference_mode():
                found = self._model.decode(
                    target=sign * target,
                    horizon=horizon,
                    mask=padding,
                    past_only_covariates=past and sign * past[0],
                    past_only_mask=past and past[1],
                    past_future_covariates=known and sign * known[0],
                    past_future_mask=known and known[1],
                )
            return np.sort(found[:, 0].cpu().numpy().astype(np.float64), axis=-1)

        found = decode(1)
        return (found - decode(-1)[..., ::-1]) / 2 if self._options.symmetric else found

    def _blocks(self, blocks: Sequence[Block], width: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return values and mask ``[N, V, width]``, or None where there is no channel."""
        if not len(blocks[0]):
            return None
        return (
            self._stacked([block.values for block in blocks], width),
            self._stacked([block.mask for block in blocks], width, True),
        )

    def _stacked(self, arrays: Sequence[np.ndarray[Any, Any]], width: int, padding: bool = False) -> torch.Tensor:
        """Return the arrays ``[..., n]`` as one tensor ``[N, ..., width]``, padded in front."""
        padded = [
            np.pad(array, [(0, 0)] * (array.ndim - 1) + [(width - array.shape[-1], 0)], constant_values=padding)
            for array in arrays
        ]
        return torch.from_numpy(np.stack(padded)).to(self._device)
