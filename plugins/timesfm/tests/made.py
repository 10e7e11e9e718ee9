"""Tiny weights of both versions, saved as the published ones are, and windows to forecast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from kronosfw_timesfm.options import TimesFm
from timesfm import TimesFM_2p5_200M_torch
from timesfm.configs import ResidualBlockConfig, StackedTransformersConfig, TransformerConfig
from timesfm.timesfm_2p5.timesfm_2p5_base import TimesFM_2p5_200M_Definition
from timesfm.timesfm_2p5.timesfm_2p5_torch import TimesFM_2p5_200M_torch_module
from timesfm3 import TimesFM3Torch

from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Bars, Covariates, Window

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
D = 32


def _block(inputs: int, outputs: int, bias: bool) -> ResidualBlockConfig:
    return ResidualBlockConfig(inputs, D, outputs, use_bias=bias, activation="swish")


TINY = replace(
    TimesFM_2p5_200M_Definition(),
    tokenizer=_block(64, D, True),
    stacked_transformers=StackedTransformersConfig(
        1, TransformerConfig(D, D, 2, "rms", "rms", "rms", False, True, "swish", True)
    ),
    output_projection_point=_block(D, 1280, False),
    output_projection_quantiles=_block(D, 10240, False),
)
"""Geometry of 2.5, which stands in its class, with one narrow layer."""


@contextmanager
def tiny_geometry() -> Iterator[None]:
    """Let 2.5 be saved and loaded with the tiny geometry."""
    published = TimesFM_2p5_200M_torch_module.config
    TimesFM_2p5_200M_torch_module.config = TINY
    try:
        yield
    finally:
        TimesFM_2p5_200M_torch_module.config = published


def _drawn(model: torch.nn.Module, std: float) -> None:
    """Fill a model with numbers under which its output depends on all of its input."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(torch.randn(weights.shape, generator=rng) * std + (weights.dim() == 1))


def save25(folder: Path) -> Path:
    """Write tiny weights of 2.5; needs the tiny geometry."""
    model = TimesFM_2p5_200M_torch(torch_compile=False)
    _drawn(model.model, 0.15)
    model.save_pretrained(folder)
    return folder


def save30(folder: Path) -> Path:
    """Write tiny weights of 3.0."""
    transformer = {
        "model_dims": D,
        "hidden_dims": D,
        "num_heads": 2,
        "attention_norm": "rms",
        "feedforward_norm": "rms",
        "qk_norm": "rms",
        "use_bias": False,
        "use_rope_seq": True,
        "use_rope_var": False,
        "ff_activation": "relu",
        "deterministic": True,
    }
    block = {"hidden_dims": D, "output_dims": D, "use_bias": False, "activation": "relu"}
    model = TimesFM3Torch(
        residual_block_config=block, transformer_config={"num_layers": 2, "transformer": transformer}
    )
    _drawn(model, 0.15)
    model.save_pretrained(folder)
    return folder


def options25(folder: Path, **options: object) -> TimesFm:
    return TimesFm.model_validate({"model": str(folder), "threads": 1, "device": "cpu", **options})


def options30(folder: Path, **options: object) -> TimesFm:
    return options25(folder, version="3.0", accept_license=True, **options)


def windows(number: int = 3, context: int = 100, horizon: int = 5) -> list[Window]:
    market = SmallMarket.make(n_symbols=number, n=context + 60)
    times = next(iter(market.bars.values())).times
    return market.windows(cutoff_at(times, context + 20), context=context, horizon=horizon)


def with_close(window: Window, close: np.ndarray) -> Window:
    """Return the window with other closes."""
    values = window.bars.values.copy()
    values[:, window.bars.columns.index("close")] = close
    return replace(window, bars=Bars(window.symbol, window.bars.times, values, window.bars.columns))


def with_channels(window: Window, seed: int = 0) -> Window:
    """Return the window with one channel known ahead, two that are not, and one that never changes."""
    rng = np.random.default_rng(seed)
    total = len(window.bars) + window.horizon
    values = rng.normal(size=(total, 4)).astype(np.float32)
    values[:, 3] = 1
    mask = np.zeros(values.shape, np.bool_)
    mask[len(window.bars) :, 1:] = True
    mask[:7, 2] = True
    values[mask] = 0
    names, groups = ("schedule", "leader", "surprise", "constant"), ("a", "b", "b", "b")
    return replace(window, covariates=Covariates(values, mask, names, (True, False, False, False), groups))
