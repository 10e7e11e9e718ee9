"""Small models, tokenizers and series, made up from a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from kronosfw_kronos_event.kronos.candles import candles, stamps
from kronosfw_kronos_event.kronos.generation import Series
from kronosfw_kronos_event.kronos.model import Kronos, KronosConfig
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer, TokenizerConfig

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
