"""A slow sampler, written down literally after the published inference: everything is recomputed at each step.

It calls the tokenizer and the model as they are trained and shares with the fast sampler nothing but the uniforms.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from kronosfw_kronos_event.kronos.draws import Filter, uniforms
from kronosfw_kronos_event.kronos.generation import Options, Series
from kronosfw_kronos_event.kronos.model import Kronos
from kronosfw_kronos_event.kronos.sampler import Paths
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer
from kronosfw_kronos_event.training.adapting import Adaptable
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
CLOSE = 3


@torch.no_grad()
def literal(
    tokenizer: KronosTokenizer,
    model: Kronos,
    series: Series,
    options: Options,
    rotary: bool = False,
    adaptable: Adaptable | None = None,
) -> tuple[Paths, float]:
    """Return the paths of one series, and how far every decision was from going the other way.

    ``adaptable`` is the model as it is trained on the series' events, with its adapters in place.
    """
    steps, paths, most = series.steps, options.paths, options.max_context
    series = series.last(most - steps + 1 if options.sliding == "shorten" else most)
    bars, stamps = len(series.candles), torch.from_numpy(series.stamps)
    mean, std = series.candles.mean(axis=0), series.candles.std(axis=0)
    z = torch.tensor(np.clip((series.candles - mean) / (std + 1e-5), -5, 5)[None], dtype=torch.float32)
    s1, s2 = (ids.repeat(paths, 1) for ids in tokenizer.encode(z))
    drawn = uniforms([series.seed], steps, paths, options.method)[:, :, 0].astype(float)
    order = np.arange(2**model.config.s1_bits)
    if options.method == "rqmc":
        order = _by_close(tokenizer, s1[0], s2[0])
    margins: list[float] = []
    dropped = 0
    for step in range(steps):
        if bars + step - dropped > most:
            dropped = min(dropped + (options.chunk if options.sliding == "chunked" else 1), bars - 1)
        u1, u2 = drawn[:, step]
        if options.method == "rqmc" and step:
            closes = tokenizer.decode(s1, s2)[:, -1, CLOSE].numpy()
            by_rank = closes.argsort(kind="stable")
            margins.append(float(np.diff(closes[by_rank]).min()))
            ranks = np.empty(paths, int)
            ranks[by_rank] = np.arange(paths)
            u1 = u1[ranks]
        now = slice(dropped, bars + step)
        seen = s1[:, dropped:], s2[:, dropped:], _rows(stamps[now], paths)
        if adaptable is None or series.events is None:
            hidden = model.hidden(*seen)
            logits = model.s1_logits(hidden[:, -1])
        else:
            events = torch.from_numpy(series.events)
            hidden = adaptable.hidden(*seen, _rows(events[now], paths))
            logits = model.s1_logits(hidden[:, -1]) + _of_the_target(adaptable, events[bars + step])
        shares = probabilities(logits, options.filter, margins)
        next_s1 = _ids(order[_invert(shares[:, order], u1, margins)])
        logits = model.s2_logits(hidden[:, -1:], next_s1, hidden, rotary)[:, 0]
        next_s2 = _ids(_invert(probabilities(logits, options.filter, margins), u2, margins))
        s1, s2 = torch.cat([s1, next_s1], dim=1), torch.cat([s2, next_s2], dim=1)
    drop = 0 if options.sliding == "shorten" else max(bars + steps - most, 0)
    decoded = tokenizer.decode(s1[:, drop:], s2[:, drop:]).double().numpy() * (std + 1e-5) + mean
    return Paths(decoded[:, bars - drop :], decoded[0, bars - drop - 1]), min(margins)


def probabilities(logits: Tensor, rule: Filter, margins: list[float] | None = None) -> Floats:
    """Return the shares of tokens: softmax with a temperature, the top k, then the top p of what is left."""
    scores = logits.double().numpy() / rule.temperature
    result = np.zeros_like(scores)
    for row, kept in zip(scores.reshape(-1, scores.shape[-1]), result.reshape(-1, scores.shape[-1]), strict=True):
        likeliest = np.argsort(-row, kind="stable")[: rule.top_k or None]
        shares = np.exp(row[likeliest] - row.max())
        shares /= shares.sum()
        if rule.top_p < 1:
            reached = shares.cumsum()
            enough = int((reached < rule.top_p).sum()) + 1
            if margins is not None:
                margins.append(float(np.abs(reached - rule.top_p).min()))
            likeliest, shares = likeliest[:enough], shares[:enough]
        kept[likeliest] = shares / shares.sum()
    return result


def _invert(shares: Floats, uniform: Floats, margins: list[float]) -> NDArray[np.int64]:
    """Return for each row the first index at which the sum of shares passes its uniform."""
    edges = shares.cumsum(axis=1)
    inner = np.where((edges > 0) & (edges < 1 - 1e-12), edges, np.inf)
    margins.append(float(np.abs(inner - uniform[:, None]).min()))
    return ((edges > uniform[:, None]) & (shares > 0)).argmax(axis=1)


def _of_the_target(adaptable: Adaptable, row: Tensor) -> Tensor:
    """Return what bears on the target bar adds to the logits of s1, its gate at the end of its inputs."""
    embedding = adaptable.events
    if embedding is None or embedding.tilt is None:
        return torch.zeros(())
    favoured = embedding.tilt.weight @ row[len(embedding.channels.names) : -1]
    return embedding.tilt.values @ favoured * row[-1]


def _by_close(tokenizer: KronosTokenizer, s1: Tensor, s2: Tensor) -> NDArray[np.int64]:
    """Return all s1 by the close of the candle that s1 alone makes after a context ``[T]``."""
    bits, all_bits = tokenizer.config.s1_bits, tokenizer.config.s1_bits + tokenizer.config.s2_bits
    context, closes = tokenizer.code(s1, s2), []
    for token in range(2**bits):
        code = np.zeros(all_bits, np.float32)
        for bit in range(bits):
            code[bit] = (1 if token // 2**bit % 2 else -1) / math.sqrt(all_bits)
        x = torch.cat([context, tokenizer.post_quant_embed(torch.from_numpy(code))[None]])
        closes.append(float(tokenizer.reconstruct(x[None])[0, -1, CLOSE]))
    return np.argsort(closes)


def _rows(x: Tensor, count: int) -> Tensor:
    return x.expand(count, *x.shape)


def _ids(ids: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(ids)[:, None]
