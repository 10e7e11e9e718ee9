"""The model: a causal transformer over candles that predicts the next token pair, s1 first, then s2 given s1.

After Shi et al. (Kronos, arXiv 2508.02739). V1 = 2**s1_bits and V2 = 2**s2_bits are the sizes of the two
vocabularies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Attention, Block, RMSNorm, rotary_table
from .weights import Pretrained

STAMPS = {"minute": 60, "hour": 24, "weekday": 7, "day": 32, "month": 13}
"""Columns of a time stamp and how many values each may take."""


@dataclass(frozen=True)
class KronosConfig:
    """The keys of a model's ``config.json``."""

    s1_bits: int
    s2_bits: int
    n_layers: int
    d_model: int
    n_heads: int
    ff_dim: int
    ffn_dropout_p: float = 0.0
    attn_dropout_p: float = 0.0
    resid_dropout_p: float = 0.0
    token_dropout_p: float = 0.0
    learn_te: bool = True


class Kronos(Pretrained):
    """Predicts candles from candles."""

    config: KronosConfig
    config_class = KronosConfig
    rope: Tensor
    dep_rope: Tensor

    def __init__(self, config: KronosConfig) -> None:
        super().__init__()
        self.config = c = config
        dropouts = c.ffn_dropout_p, c.attn_dropout_p, c.resid_dropout_p
        self.embedding = PairEmbedding(c)
        self.time_emb = TimeEmbedding(c)
        self.token_drop = nn.Dropout(c.token_dropout_p)
        self.transformer = nn.ModuleList(
            Block(c.d_model, c.n_heads, c.ff_dim, *dropouts) for _ in range(c.n_layers)
        )
        self.norm = RMSNorm(c.d_model)
        self.dep_layer = DependencyLayer(c)
        self.head = Heads(c)
        self.register_buffer("rope", rotary_table(c.d_model // c.n_heads), persistent=False)
        self.register_buffer("dep_rope", rotary_table(c.d_model // DependencyLayer.HEADS), persistent=False)
        self.apply(_initialise)

    def hidden(self, s1: Tensor, s2: Tensor, stamps: Tensor, events: Tensor | None = None) -> Tensor:
        """Return normed hidden states ``[B, T, D]`` for tokens ``[B, T]`` and stamps ``[B, T, 5]``.

        ``events [B, T, D]`` is what an event embedding adds; without it this is the base model, bit for bit.
        """
        x = self.embedding(s1, s2) + self.time_emb(stamps)
        x = self.token_drop(x if events is None else x + events)
        for block in self.transformer:
            x = block(x, self.rope)
        return self.norm(x)

    def s1_logits(self, hidden: Tensor) -> Tensor:
        """Return logits ``[..., V1]`` of the next bar's s1."""
        return self.head.proj_s1(hidden)

    def depend(self, hidden: Tensor, s1: Tensor) -> Tensor:
        """Return the states ``[B, T, D]`` from which s2 follows, given the next bar's ``s1 [B, T]``.

        The form of the training: every position looks at those up to its own, with rotary positions.
        """
        return self.dep_layer(hidden, self.embedding.emb_s1(s1), hidden, self.dep_rope)

    def s2_logits(self, hidden: Tensor, s1: Tensor, memory: Tensor, rotary: bool = False) -> Tensor:
        """Return logits ``[B, 1, V2]`` of the next bar's s2 given its ``s1 [B, 1]``, as generation asks for them.

        One position ``hidden [B, 1, D]`` looks at all of ``memory [B, M, D]``, whose last it is. The published code
        leaves queries and keys unrotated here; ``rotary`` keeps the form of the training instead.
        """
        rope = self.dep_rope if rotary else None
        return self.head.proj_s2(self.dep_layer(hidden, self.embedding.emb_s1(s1), memory, rope, causal=False))

    def forward(self, s1: Tensor, s2: Tensor, stamps: Tensor, next_s1: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of both halves of each next token, the second given the true ``next_s1 [B, T]``."""
        hidden = self.hidden(s1, s2, stamps)
        return self.s1_logits(hidden), self.head.proj_s2(self.depend(hidden, next_s1))


class PairEmbedding(nn.Module):
    """Embeds a token pair: two tables, fused by a linear layer."""

    def __init__(self, config: KronosConfig) -> None:
        super().__init__()
        self.emb_s1 = nn.Embedding(2**config.s1_bits, config.d_model)
        self.emb_s2 = nn.Embedding(2**config.s2_bits, config.d_model)
        self.fusion_proj = nn.Linear(2 * config.d_model, config.d_model)
        self.scale = math.sqrt(config.d_model)

    def forward(self, s1: Tensor, s2: Tensor) -> Tensor:
        pair = torch.cat([self.emb_s1(s1), self.emb_s2(s2)], dim=-1)
        return self.fusion_proj(pair * self.scale)


class TimeEmbedding(nn.Module):
    """Adds up what minute, hour, weekday, day of the month and month stand for."""

    def __init__(self, config: KronosConfig) -> None:
        super().__init__()
        table = nn.Embedding if config.learn_te else Sinusoids
        for name, size in STAMPS.items():
            setattr(self, f"{name}_embed", table(size, config.d_model))

    def forward(self, stamps: Tensor) -> Tensor:
        columns = zip(STAMPS, stamps.long().unbind(-1), strict=True)
        return sum(getattr(self, f"{name}_embed")(column) for name, column in columns)


class Sinusoids(nn.Module):
    """A fixed table of sines and cosines (Vaswani et al., 2017), kept under the name checkpoints give it."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        angles = torch.outer(torch.arange(size).float(), 10000.0 ** (-torch.arange(0, width, 2).float() / width))
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]
        self.emb = nn.Embedding(size, width, _weight=table, _freeze=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.emb(x)


class DependencyLayer(nn.Module):
    """Lets s2 see the s1 just drawn: s1 asks, the hidden states answer."""

    HEADS = 4

    def __init__(self, config: KronosConfig) -> None:
        super().__init__()
        self.cross_attn = Attention(config.d_model, self.HEADS, config.attn_dropout_p, config.resid_dropout_p)
        self.norm = RMSNorm(config.d_model)

    def forward(
        self, hidden: Tensor, query: Tensor, memory: Tensor, rope: Tensor | None, causal: bool = True
    ) -> Tensor:
        return self.norm(hidden + self.cross_attn(query, memory, rope, causal))


class Heads(nn.Module):
    """The two output layers."""

    def __init__(self, config: KronosConfig) -> None:
        super().__init__()
        self.proj_s1 = nn.Linear(config.d_model, 2**config.s1_bits)
        self.proj_s2 = nn.Linear(config.d_model, 2**config.s2_bits)


def cross_entropies(s1_logits: Tensor, s2_logits: Tensor, s1: Tensor, s2: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy of each half, in nats, for logits ``[..., V]`` and targets ``[...]``."""
    first = F.cross_entropy(s1_logits.flatten(0, -2).float(), s1.flatten())
    return first, F.cross_entropy(s2_logits.flatten(0, -2).float(), s2.flatten())


def _initialise(module: nn.Module) -> None:
    """Start as the published models did: Xavier for linear layers, small normals for tables."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding) and module.weight.requires_grad:
        nn.init.normal_(module.weight, std=1 / math.sqrt(module.embedding_dim))
