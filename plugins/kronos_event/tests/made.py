"""Small models, tokenizers and series, made up from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kronosfw_kronos_event.kronos.adapter import Adapter, load_adapter, save_about
from kronosfw_kronos_event.kronos.candles import candles, stamps
from kronosfw_kronos_event.kronos.events import Channels, EventEmbedding
from kronosfw_kronos_event.kronos.generation import Series
from kronosfw_kronos_event.kronos.model import Kronos, KronosConfig
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer, TokenizerConfig
from kronosfw_kronos_event.training.adapting import Adaptable, LoraOptions
from kronosfw_kronos_event.training.loop import Schedule
from kronosfw_kronos_event.training.samples import Samples

MODEL = KronosConfig(s1_bits=5, s2_bits=3, n_layers=2, d_model=40, n_heads=2, ff_dim=72, learn_te=False)
"""Halves of different sizes, fixed time stamps, heads that the layer between s1 and s2 does not share."""
TOKENIZER = TokenizerConfig(
    d_in=6,
    d_model=30,
    n_heads=3,
    ff_dim=44,
    n_enc_layers=2,
    n_dec_layers=3,
    s1_bits=5,
    s2_bits=3,
    beta=0.05,
    gamma0=1.0,
    gamma=1.1,
    zeta=0.05,
    group_size=4,
)

CHANNELS = Channels(
    names=("is_cpi", "surprise", "next_event", "days_to"),
    known_ahead=(True, False, True, True),
    marks=("is_cpi",),
    announces=("next_event",),
    output=2,
)
SCHEDULE = Schedule(20, 8, 1e-2, 2, 0.01, 1.0, 1, "float32", 20, 0)
ALL_LINEARS = "q_proj", "k_proj", "v_proj", "out_proj", "w1", "w2", "w3"
BASE = {"model": "a" * 64, "tokenizer": "b" * 64}
"""Fingerprints of a base that is on no disk."""


def pair(
    config: KronosConfig = MODEL, seed: int = 0, tokenizer: TokenizerConfig = TOKENIZER
) -> tuple[KronosTokenizer, Kronos]:
    """Return a tokenizer and a model in evaluation mode, with random numbers wherever training would put some."""
    tokenizer = replace(tokenizer, s1_bits=config.s1_bits, s2_bits=config.s2_bits)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = KronosTokenizer(tokenizer).eval(), Kronos(config).eval()
        for module in made:
            for parameter in module.parameters():
                if parameter.ndim == 1:
                    parameter.data += 0.2 * torch.randn_like(parameter)
    return made


def series(bars: int, steps: int, seed: int = 0) -> Series:
    """Return a random walk of five-minute candles, with the stamps of the bars to come."""
    rng = np.random.default_rng([bars, seed, 1])
    close = 50 * np.exp(rng.normal(0, 0.01, bars).cumsum())
    start = close * np.exp(rng.normal(0, 0.004, bars))
    spread = 1 + np.abs(rng.normal(0, 0.004, (2, bars)))
    prices = [start, np.maximum(start, close) * spread[0], np.minimum(start, close) / spread[1], close]
    times = np.datetime64("2024-02-27T22:10", "us") + np.arange(bars + steps) * np.timedelta64(5, "m")
    return Series(candles(np.column_stack(prices), rng.lognormal(8, 1, bars)), stamps(times), seed)


def told(one: Series, channels: Channels = CHANNELS) -> Series:
    """Return a series with random channels: flags are rare, and what is not known ahead is 0 after the context."""
    rng = np.random.default_rng([one.seed, len(one.stamps), 2])
    events = rng.normal(0, 1, (len(one.stamps), len(channels.names))).astype(np.float32)
    flags = channels.columns([*channels.marks, *channels.announces])
    events[:, flags] = rng.random((len(events), len(flags))) < 0.15
    events[len(one.candles) :, ~np.array(channels.known_ahead)] = 0
    return replace(one, events=channels.inputs(events, len(one.candles)))


def adaptable(
    model: Kronos,
    targets: Sequence[str] = ("q_proj", "v_proj"),
    channels: Channels | None = CHANNELS,
    *,
    output: bool = False,
    trained: bool = True,
    seed: int = 0,
) -> Adaptable:
    """Return a model with adapters, in evaluation mode, random wherever a training would have left something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = model.config
        if channels is not None and not output:
            channels = replace(channels, output=0)
        events = channels and EventEmbedding(channels, config.d_model, 2**config.s1_bits)
        if events is not None and events.tilt is not None:
            events.tilt.values.normal_(std=0.2)
        made = Adaptable(model, events, LoraOptions(3, 5.0, 0.1, targets)).eval()
        if trained:
            for parameter in made.parameters():
                if parameter.requires_grad:
                    parameter.data += 0.3 * torch.randn_like(parameter)
    return made


def adapter(folder: Path, made: Adaptable, model: Kronos) -> Adapter:
    """Return what is trained as it is kept in a folder and loaded for generation, to be added to ``model``."""
    made.save(folder)
    save_about(folder, BASE, model, made.events)
    return load_adapter(folder, model, BASE)


def made_up(windows: int, seed: int, context: int = 20, horizon: int = 4) -> Samples:
    """Return random tokens and channels of ``made`` models."""
    rng = np.random.default_rng(seed)
    length = context + horizon
    events = rng.normal(size=(windows, length, 4)).astype(np.float32)
    events[..., [0, 2]] = rng.random((windows, length, 2)) < 0.1
    events[:, context:, 1] = 0
    return Samples(
        tokens=rng.integers(0, (2**5, 2**3), (windows, length, 2)).astype(np.int32),
        stamps=rng.integers(0, (60, 24, 7, 32, 13), (windows, length, 5)),
        events=events,
        prefix=rng.integers(5, context + 1, windows),
        context=context,
    )


def tensors(batch: Any) -> dict[str, torch.Tensor]:
    """Return a batch as an objective takes it."""
    return {name: torch.from_numpy(array) for name, array in batch.items()}
