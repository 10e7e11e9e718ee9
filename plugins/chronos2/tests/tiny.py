"""A model of a few thousand parameters, written to a folder as the published ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from chronos.chronos2 import Chronos2Model
from chronos.chronos2.config import Chronos2CoreConfig
from transformers.utils import logging

LEVELS = [0.01, *(round(0.05 * i, 2) for i in range(1, 20)), 0.99]
SHAPE: dict[str, Any] = {
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 1,
    "num_heads": 2,
    "dropout_rate": 0.0,
    "initializer_factor": 0.2,
}
WINDOWS: dict[str, Any] = {
    "context_length": 8192,
    "input_patch_size": 16,
    "input_patch_stride": 16,
    "output_patch_size": 16,
    "max_output_patches": 64,
    "quantiles": LEVELS,
    "time_encoding_scale": 8192,
    "use_arcsinh": True,
    "use_reg_token": True,
}


def make_tiny(folder: Path, seed: int = 0, **shape: Any) -> Path:
    """Write a checkpoint with weights drawn from the seed and return its folder."""
    config = Chronos2CoreConfig(
        **{**SHAPE, **shape},
        architectures=["Chronos2Model"],
        chronos_pipeline_class="Chronos2Pipeline",
        chronos_config=WINDOWS,
    )
    logging.disable_progress_bar()
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        Chronos2Model(config).eval().save_pretrained(folder)
    return folder
