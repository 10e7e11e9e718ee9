"""The transformer block that tokenizer and model are made of.

Shapes: B sequences, T positions, D model width, h heads of width d. All blocks are causal and pre-norm. The
parameter names are those of the published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAX_POSITIONS = 8192
"""Longest sequence the rotary table covers."""


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32 (Zhang & Sennrich, 2019)."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


def rms_norm(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """Return ``x`` over its root mean square along the last axis, times the weight."""
    return F.rms_norm(x.float(), (x.shape[-1],), None, eps).to(x.dtype) * weight


class Rotary(nn.Module):
    """The frequencies of rotary positions (Su et al., 2021), as the checkpoints keep them for each block."""

    inv_freq: Tensor

    def __init__(self, head_width: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** (-torch.arange(0, head_width, 2).float() / head_width))


def rotary_table(head_width: int) -> Tensor:
    """Return cosines and sines of every position, ``[2, MAX_POSITIONS, d]``, for the rotate-half form."""
    angles = torch.outer(torch.arange(MAX_POSITIONS).float(), Rotary(head_width).inv_freq)
    angles = torch.cat([angles, angles], dim=-1)
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, rope: Tensor) -> Tensor:
    """Turn queries or keys ``[..., T, d]`` by the angles of their positions, ``rope [2, ..., T, d]``."""
    left, right = x.chunk(2, dim=-1)
    return x * rope[0] + torch.cat([-right, left], dim=-1) * rope[1]


class Attention(nn.Module):
    """Multi-head attention with rotary positions."""

    def __init__(self, width: int, heads: int, attn_dropout: float = 0.0, resid_dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads or width // heads % 2:
            raise ValueError(f"d_model {width} cannot be split into {heads} heads of an even width")
        self.heads = heads
        self.attn_dropout = attn_dropout
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.rotary = Rotary(width // heads)
        self.resid_dropout = nn.Dropout(resid_dropout)

    def split(self, x: Tensor) -> Tensor:
        """Return ``[B, T, D]`` as heads, ``[B, h, T, d]``."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def forward(self, query: Tensor, memory: Tensor, rope: Tensor | None, causal: bool = True) -> Tensor:
        """Attend from ``query [B, Tq, D]`` to ``memory [B, Tk, D]``, whose last Tq positions ask.

        ``rope`` None leaves both unrotated.
        """
        q, k, v = self.split(self.q_proj(query)), self.split(self.k_proj(memory)), self.split(self.v_proj(memory))
        if rope is not None:
            rope = rope[:, : k.shape[-2]]
            q, k = rotate(q, rope[:, -q.shape[-2] :]), rotate(k, rope)
        dropout = self.attn_dropout if self.training else 0.0
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=causal)
        return self.resid_dropout(self.out_proj(x.transpose(-3, -2).flatten(-2)))


class SwiGLU(nn.Module):
    """Gated feed-forward layer (Shazeer, 2020)."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w3 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(hidden, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.w2(F.silu(self.w1(x)) * self.w3(x)))


class Block(nn.Module):
    """Causal pre-norm transformer block."""

    def __init__(
        self, width: int, heads: int, hidden: int, ffn_dropout: float, attn_dropout: float, resid_dropout: float
    ) -> None:
        super().__init__()
        self.norm1 = RMSNorm(width)
        self.self_attn = Attention(width, heads, attn_dropout, resid_dropout)
        self.norm2 = RMSNorm(width)
        self.ffn = SwiGLU(width, hidden, ffn_dropout)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.self_attn(y, y, rope)
        return x + self.ffn(self.norm2(x))
