"""A stack of transformer blocks as the sampler runs it: once over each series' context, then on for its paths.

Shapes: G series, n paths of each, T bars of context, S slots for what a path adds, L positions added at once, h
heads of width d. The keys and values of the context are kept once per series, those of what follows once per path;
a path attends to both in one softmax.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Block, rms_norm, rotate


@dataclass(frozen=True)
class Memory:
    """Keys and values of an attention layer: ``[2, G, h, T, d]`` for the context, ``[2, G, n, h, S, d]`` beyond."""

    context: Tensor
    beyond: Tensor

    @classmethod
    def of(cls, keys: Tensor, values: Tensor, paths: int, slots: int) -> Memory:
        """Keep a context's ``[G, h, T, d]``, with room for what each path adds."""
        series, heads, _, width = keys.shape
        return cls(torch.stack([keys, values]), keys.new_zeros(2, series, paths, heads, slots, width))

    def fork(self, paths: int) -> Memory:
        """Return a memory of the same contexts with room for one position of each of other paths."""
        _, series, heads, _, width = self.context.shape
        return Memory(self.context, self.context.new_zeros(2, series, paths, heads, 1, width))

    def add(self, keys: Tensor, values: Tensor, place: Place) -> None:
        """Keep what paths add, ``[G, n, h, L, d]``."""
        self.beyond[0].index_copy_(3, place.slots, keys)
        self.beyond[1].index_copy_(3, place.slots, values)

    def attend(self, q: Tensor, place: Place) -> Tensor:
        """Return what queries ``[G, n, h, L, d]`` find.

        The context's part is one product for all paths of a series. A softmax over both parts' scores side by side
        is the merge of two attentions by their log-sum-exp.
        """
        shape = q.shape[1], q.shape[3]
        q = q / math.sqrt(q.shape[-1])
        from_context = (q.transpose(1, 2).flatten(2, 3) @ self.context[0].mT).unflatten(2, shape)
        if place.context_bias is not None:
            from_context = from_context + place.context_bias
        keys, values = self.beyond[..., : place.end, :]
        beyond = q @ keys.mT + place.beyond_bias
        scores = torch.cat([from_context, beyond.transpose(1, 2)], dim=-1)
        weights = scores.softmax(-1, dtype=torch.float32).to(q.dtype)
        left, right = weights.split([from_context.shape[-1], beyond.shape[-1]], dim=-1)
        found = (left.flatten(2, 3) @ self.context[1]).unflatten(2, shape)
        return found.transpose(1, 2) + right.transpose(1, 2) @ values


@dataclass(frozen=True)
class Place:
    """Where positions stand that paths add, and what they may see."""

    lengths: Tensor
    """Bars of context of each series ``[G]``; shorter contexts are padded behind."""
    slots: Tensor
    """Slots of the positions added ``[L]``, counted from the end of the context."""
    end: int
    """Slots to look at."""
    context_bias: Tensor | None
    """0 where a series has context, -inf in the padding, ``[G, 1, 1, 1, T]``; None where nothing is padded."""
    beyond_bias: Tensor
    """0 at the slots where a position may look, -inf at later ones, ``[L, end]``."""

    @property
    def positions(self) -> Tensor:
        """Positions in the sequences, ``[G, L]``."""
        return self.lengths[:, None] + self.slots


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to a packed linear layer (Hu et al., LoRA, 2021), its scale folded into ``up``."""

    down: Tensor
    """``[R, in]``"""
    up: Tensor
    """``[out, R]``"""


Adaptation = Mapping[str, LowRank]
"""What an adapter adds to a layer: to its ``qkv``, ``out``, ``gates`` and ``down``, those that are there."""


@dataclass(frozen=True)
class Adapted:
    """The adaptation of every layer, and where it is open, ``[..., L, 1]``; everywhere where None."""

    layers: Sequence[Adaptation]
    open: Tensor | None


@dataclass(frozen=True)
class Layer:
    """One block's weights, those that are applied to the same input packed into one matrix."""

    norm1: Tensor
    qkv: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]
    norm2: Tensor
    gates: Tensor
    down: Tensor

    @classmethod
    def of(cls, block: Block) -> Layer:
        """Pack a block."""
        a, f = block.self_attn, block.ffn
        projections = a.q_proj, a.k_proj, a.v_proj
        return cls(
            norm1=block.norm1.weight.detach(),
            qkv=(
                torch.cat([p.weight.detach() for p in projections]),
                torch.cat([p.bias.detach() for p in projections]),
            ),
            out=(a.out_proj.weight.detach(), a.out_proj.bias.detach()),
            norm2=block.norm2.weight.detach(),
            gates=torch.cat([f.w1.weight.detach(), f.w3.weight.detach()]),
            down=f.w2.weight.detach(),
        )

    def projected(self, x: Tensor, adapted: Adaptation, open: Tensor | None) -> Tensor:
        """Return queries, keys and values of x, packed ``[..., L, 3 D]``."""
        x = rms_norm(x, self.norm1)
        return _added(F.linear(x, *self.qkv), x, adapted.get("qkv"), open)

    def after(self, x: Tensor, found: Tensor, adapted: Adaptation, open: Tensor | None) -> Tensor:
        """Return x after the block, for what its attention found ``[..., L, D]``."""
        x = x + _added(F.linear(found, *self.out), found, adapted.get("out"), open)
        y = rms_norm(x, self.norm2)
        gate, value = _added(F.linear(y, self.gates), y, adapted.get("gates"), open).chunk(2, dim=-1)
        y = F.silu(gate) * value
        return x + _added(F.linear(y, self.down), y, adapted.get("down"), open)


def _added(y: Tensor, x: Tensor, adapter: LowRank | None, open: Tensor | None) -> Tensor:
    if adapter is None:
        return y
    z = F.linear(x, adapter.down)
    return y + F.linear(z if open is None else z * open, adapter.up)


class Stack:
    """Blocks packed for inference. Holds nothing that a call changes, so any number of threads may share it."""

    def __init__(self, blocks: nn.ModuleList, rope: Tensor) -> None:
        own = [block for block in blocks if isinstance(block, Block)]
        self.layers = [Layer.of(block) for block in own]
        self.heads = own[0].self_attn.heads
        self.rope = rope

    def read(
        self, x: Tensor, paths: int, slots: int, adapted: Adapted | None = None
    ) -> tuple[Tensor, list[Memory]]:
        """Run contexts ``[G, T, D]``; return their states and a memory with room for what ``paths`` paths add."""
        rope, memories = self.rope[:, : x.shape[1]], []
        for layer, extra in self._with(adapted):
            q, k, v = self._heads(layer.projected(x, *extra))
            q, k = rotate(q, rope), rotate(k, rope)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = layer.after(x, y.transpose(1, 2).flatten(2), *extra)
            memories.append(Memory.of(k, v, paths, slots))
        return x, memories

    def go_on(self, x: Tensor, memories: Sequence[Memory], place: Place, adapted: Adapted | None = None) -> Tensor:
        """Run what paths add, ``[G, n, L, D]``, and return its states."""
        rope = self.rope[:, place.positions][:, :, None, None]
        for (layer, extra), memory in zip(self._with(adapted), memories, strict=True):
            q, k, v = self._heads(layer.projected(x, *extra))
            memory.add(rotate(k, rope), v, place)
            y = memory.attend(rotate(q, rope), place)
            x = layer.after(x, y.transpose(2, 3).flatten(3), *extra)
        return x

    def _with(self, adapted: Adapted | None) -> list[tuple[Layer, tuple[Adaptation, Tensor | None]]]:
        """Return the layers, each with what an adapter adds to it and where that is open."""
        if adapted is None:
            return [(layer, ({}, None)) for layer in self.layers]
        return [(layer, (extra, adapted.open)) for layer, extra in zip(self.layers, adapted.layers, strict=True)]

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values ``[..., h, L, d]`` of their packed projections ``[..., L, 3 D]``."""
        q, k, v = x.unflatten(-1, (3, self.heads, -1)).transpose(-4, -2).unbind(-3)
        return q, k, v
