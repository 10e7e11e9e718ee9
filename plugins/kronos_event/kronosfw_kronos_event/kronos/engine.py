"""Tokenizer and model packed for generation: weights that are applied together joined, tables looked up at once.

Shapes: G series, n paths of each, T bars of context, L positions added at once, D model width, V1 and V2 tokens.
Nothing here changes once it is made, so any number of threads may share an engine.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .adapter import Adapter
from .candles import CLOSE
from .events import gate
from .layers import rms_norm, rotate
from .model import DependencyLayer, Kronos
from .stack import Adapted, Memory, Place, Stack
from .tokenizer import KronosTokenizer, to_signs


@dataclass(frozen=True)
class Tape:
    """What the model remembers of contexts and paths."""

    layers: list[Memory]
    dependency: Memory
    """Of the layer through which s2 depends on s1."""


class Engine:
    """A tokenizer and a model, in evaluation mode and on one device, that run paths.

    The tokenizer had better be float32 whatever the model is: in bfloat16 some tokens of the context differ, and a
    candle is resolved no finer than a 64th of a standard deviation.
    ``rotary`` rotates positions in the layer between s1 and s2, as in training; the published generation leaves
    them unrotated.
    """

    adapter: Adapter | None = None

    def __init__(self, tokenizer: KronosTokenizer, model: Kronos, rotary: bool = False) -> None:
        bits = [(m.config.s1_bits, m.config.s2_bits) for m in (tokenizer, model)]
        if bits[0] != bits[1]:
            raise ValueError(f"the tokenizer makes tokens of {bits[0]} bits, the model takes {bits[1]}")
        if tokenizer.training or model.training:
            raise ValueError("tokenizer and model are in training mode; call eval() first, or dropout stays live")
        self.tokenizer, self.model = tokenizer, model
        self.device, self.dtype = model.norm.weight.device, model.norm.weight.dtype
        self.candle_dtype = tokenizer.head.weight.dtype
        with torch.inference_mode():
            self._transformer = Stack(model.transformer, model.rope)
            self._decoder = Stack(tokenizer.decoder, tokenizer.rope)
            self._rope: Tensor | None = model.dep_rope if rotary else None
            embedding, cross = model.embedding, model.dep_layer.cross_attn
            left, right = (embedding.fusion_proj.weight * embedding.scale).chunk(2, dim=1)
            self._s1_rows = embedding.emb_s1.weight @ left.T
            self._s2_rows = F.linear(embedding.emb_s2.weight, right, embedding.fusion_proj.bias)
            self._queries = cross.q_proj(embedding.emb_s1.weight).unflatten(-1, (DependencyLayer.HEADS, -1))
            self._answers = torch.cat([cross.k_proj.weight, cross.v_proj.weight])
            self._answers_bias = torch.cat([cross.k_proj.bias, cross.v_proj.bias])

    def with_adapter(self, adapter: Adapter | None) -> Engine:
        """Return an engine that shares these weights and adds an adapter to them, or none."""
        other = copy(self)
        other.adapter = adapter and adapter.to(self.device, self.dtype)
        return other

    def read(
        self, s1: Tensor, s2: Tensor, stamps: Tensor, events: Tensor | None, paths: int, slots: int
    ) -> tuple[Tensor, Tape]:
        """Run contexts ``[G, T]``; return their normed states ``[G, T, D]`` and what is to be remembered.

        ``events [G, T, I]`` are the adapter's inputs; without them the base model runs.
        """
        x, adapted = self._embed(s1, s2, stamps, events)
        x, layers = self._transformer.read(x, paths, slots, adapted)
        x = rms_norm(x, self.model.norm.weight)
        k, v = self._keys_values(x)
        if self._rope is not None:
            k = rotate(k, self._rope[:, : x.shape[1]])
        return x, Tape(layers, Memory.of(k, v, paths, slots))

    def go_on(
        self, s1: Tensor, s2: Tensor, stamps: Tensor, events: Tensor | None, tape: Tape, place: Place
    ) -> Tensor:
        """Run what paths add ``[G, n, L]``, stamps ``[G, 1, L, 5]``, events ``[G, 1, L, I]``.

        Returns normed states ``[G, n, L, D]``.
        """
        x, adapted = self._embed(s1, s2, stamps, events)
        x = self._transformer.go_on(x, tape.layers, place, adapted)
        x = rms_norm(x, self.model.norm.weight)
        k, v = self._keys_values(x)
        if self._rope is not None:
            k = rotate(k, self._rope[:, place.positions][:, :, None, None])
        tape.dependency.add(k, v, place)
        return x

    def s1_logits(self, state: Tensor, target: Tensor | None) -> Tensor:
        """Return the logits ``[..., V1]`` of the next s1 after states ``[..., D]``.

        ``target [..., I]`` are the inputs of the bar to come.
        """
        logits = self.model.head.proj_s1(state)
        events = None if self.adapter is None else self.adapter.events
        if target is None or events is None or events.tilt is None:
            return logits
        return logits + events.logits(target)

    def s2_logits(self, state: Tensor, s1: Tensor, tape: Tape, place: Place) -> Tensor:
        """Return the logits ``[G, n, V2]`` of the next s2 given its ``s1 [G, n]``, after states ``[G, n or 1, D]``.

        ``place`` says what of the tape the states may see: up to themselves.
        """
        q = self._queries[s1][..., None, :]
        if self._rope is not None:
            q = rotate(q, self._rope[:, place.positions[:, -1:]][:, :, None, None])
        found = tape.dependency.attend(q, place).flatten(2)
        layer = self.model.dep_layer
        x = rms_norm(state + layer.cross_attn.out_proj(found), layer.norm.weight)
        return self.model.head.proj_s2(x)

    def read_candles(self, s1: Tensor, s2: Tensor, paths: int, slots: int) -> tuple[Tensor, list[Memory]]:
        """Decode contexts ``[G, T]``; return their candles ``[G, T, 6]`` and what the decoder remembers."""
        x, memories = self._decoder.read(self.tokenizer.code(s1, s2), paths, slots)
        return self.tokenizer.head(x), memories

    def decode(self, s1: Tensor, s2: Tensor, memories: list[Memory], place: Place) -> Tensor:
        """Decode what paths add ``[G, n, L]`` into candles ``[G, n, L, 6]``."""
        return self.tokenizer.head(self._decoder.go_on(self.tokenizer.code(s1, s2), memories, place))

    def by_close(self, memories: list[Memory], place: Place) -> Tensor:
        """Return all s1 by the close they stand for in the next bar, rising, ``[G, V1]``.

        ``memories`` are the decoder's of the contexts, ``place`` the first slot after them. s2 is left open: its
        signs are put at 0, their mean.
        """
        config = self.tokenizer.config
        signs = to_signs(torch.arange(2**config.s1_bits, device=self.device), config.s1_bits).to(self.candle_dtype)
        weight = self.tokenizer.post_quant_embed.weight[:, : config.s1_bits]
        code = F.linear(signs / math.sqrt(self.tokenizer.bits), weight, self.tokenizer.post_quant_embed.bias)
        tokens, series = len(code), memories[0].context.shape[1]
        x = code[:, None].expand(series, -1, -1, -1)
        x = self._decoder.go_on(x, [memory.fork(tokens) for memory in memories], place)
        return self.tokenizer.head(x)[:, :, 0, CLOSE].argsort(dim=-1)

    def _embed(
        self, s1: Tensor, s2: Tensor, stamps: Tensor, events: Tensor | None
    ) -> tuple[Tensor, Adapted | None]:
        """Return the input of the transformer, and what the adapter adds to its layers."""
        x = self._s1_rows[s1] + self._s2_rows[s2] + self.model.time_emb(stamps)
        adapter = self.adapter
        if adapter is None or (adapter.events is not None and events is None):
            return x, None
        if adapter.events is not None and events is not None:
            x = x + adapter.events(events)
        opened = None if events is None else gate(events, self.dtype)
        return x, None if adapter.layers is None else Adapted(adapter.layers, opened)

    def _keys_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        heads = F.linear(x, self._answers, self._answers_bias).unflatten(-1, (2, DependencyLayer.HEADS, -1))
        k, v = heads.transpose(-4, -2).unbind(-3)
        return k, v
