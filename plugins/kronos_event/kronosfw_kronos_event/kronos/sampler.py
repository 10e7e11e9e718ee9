"""The sampler: paths of candles for any number of series, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass

import torch

from .adapter import Adapter
from .candles import Floats, Scale
from .engine import Engine
from .generation import Generation, Options, Series
from .model import Kronos
from .tokenizer import KronosTokenizer


@dataclass(frozen=True)
class Paths:
    """What was drawn for one series, in the instrument's units, as the tokenizer decodes it."""

    candles: Floats
    """``[n, H, 6]``"""
    start: Floats
    """The last bar of the context ``[6]``."""


class Sampler:
    """Draws paths from a tokenizer and a model, both in evaluation mode and on one device.

    A series' paths depend on the series and its seed, beyond rounding on nothing else. Any number of threads may
    share a sampler. Raises ValueError if tokenizer and model do not belong together.
    """

    def __init__(
        self, tokenizer: KronosTokenizer, model: Kronos, options: Options | None = None, rotary: bool = False
    ) -> None:
        self.options = options or Options()
        self._engine = Engine(tokenizer, model, rotary)

    def with_adapter(self, adapter: Adapter | None) -> Sampler:
        """Return a sampler that shares these weights and adds an adapter to them, or none."""
        other = copy(self)
        other._engine = self._engine.with_adapter(adapter)
        return other

    def sample(self, series: Sequence[Series]) -> list[Paths]:
        """Return the paths of each series, in order; raises ValueError for a horizon too long for the model."""
        fitting = [self._fit(one) for one in series]
        found: dict[int, Paths] = {}
        for batch in self._batches(fitting):
            found.update(zip(batch, self._run([fitting[i] for i in batch]), strict=True))
        return [found[i] for i in range(len(series))]

    def _fit(self, one: Series) -> Series:
        """Return the series with as much context as can be used."""
        most = self.options.max_context
        if not 1 <= one.steps < most:
            raise ValueError(f"{one.steps} steps asked for: with {most} positions the model draws 1 to {most - 1}")
        return one.last(most - one.steps + 1 if self.options.sliding == "shorten" else most)

    def _batches(self, series: Sequence[Series]) -> Iterator[list[int]]:
        """Yield which series run together: as many as the memory holds, of one shape where bars are dropped."""
        most = self.options.max_context + (self.options.sliding == "shorten")
        shapes = [(len(one.candles), one.steps) for one in series]
        batch: list[int] = []
        for i in sorted(range(len(series)), key=shapes.__getitem__):
            length, steps = shapes[i][0], max(shapes[j][1] for j in [*batch, i])
            full = (len(batch) + 1) * self.bytes_for(length, steps) > self.options.memory
            if batch and (full or (length + steps > most and shapes[i] != shapes[batch[0]])):
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def bytes_for(self, context: int, steps: int) -> int:
        """Return about how many bytes a series takes: what is remembered, and the most that is made on the way."""
        model, tokenizer, paths = self._engine.model.config, self._engine.tokenizer.config, self.options.paths
        size = self._engine.dtype.itemsize
        widths = (model.n_layers + 1) * model.d_model + (tokenizer.n_dec_layers - 1) * tokenizer.d_model
        remembered = 2 * size * widths * (context + paths * steps)
        # Independent paths are decoded at the end, all steps at once; paths that slide are run anew from the start.
        at_once = 1 if self.options.method == "rqmc" and self.options.sliding == "shorten" else steps
        scores = paths * at_once * (context + steps) * model.n_heads * (2 * size + 4)
        logits = paths * (2**model.s1_bits + 2**model.s2_bits) * (size + 4 + 8)
        running = max(context, paths * at_once) * (6 * model.d_model + 3 * model.ff_dim) * size
        ordering = (
            (2**model.s1_bits) * (context * tokenizer.n_heads + 6 * tokenizer.d_model + 3 * tokenizer.ff_dim) * 4
        )
        return int(remembered + max(scores + max(logits, running), ordering))

    def _run(self, series: Sequence[Series]) -> list[Paths]:
        with torch.inference_mode():
            candles, start = Generation(self._engine, self.options, series).run()
        if not candles.isfinite().all():
            raise ValueError(f"what the model drew is not finite in {self._engine.dtype}; choose another dtype")
        paths = []
        for one, drawn, last in zip(series, candles.cpu().double(), start.cpu().double(), strict=True):
            scale = Scale.of(one.candles)
            z = drawn[:, : one.steps].numpy()
            paths.append(Paths(scale.denormalise(z), scale.denormalise(last[None].numpy())[0]))
        return paths
