"""Measures what an adapter costs: in a step of the sampler, in memory, and to switch to.

    python benchmarks/adapter.py

Random weights of the published sizes and kronos-nano, 30 paths, 24 steps, context 392 (96 for nano), float32, one
thread; rank 8 on queries and values, 20 event channels. CPU time, with the adapter over without it, in one run.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from kronosfw_kronos_event.kronos.adapter import load_adapter, save_about
from kronosfw_kronos_event.kronos.events import Channels, EventEmbedding
from kronosfw_kronos_event.kronos.generation import Options, Series
from kronosfw_kronos_event.kronos.model import Kronos
from kronosfw_kronos_event.kronos.sampler import Sampler
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer
from kronosfw_kronos_event.options import KronosEvent
from kronosfw_kronos_event.sources import source
from kronosfw_kronos_event.training.adapting import Adaptable, LoraOptions
from sampler import Pair, built, cpu_seconds, random_walk

HORIZON, REPEATS = 24, 5
CHANNELS = Channels(tuple(f"c{i}" for i in range(20)), (True,) * 20, ("c0",), ("c1",))


def write_adapter(folder: Path, model: Kronos, gate: int | None) -> None:
    """Write an adapter with random weights for a model."""
    embedding = EventEmbedding(replace(CHANNELS, gate=gate), model.config.d_model, 2**model.config.s1_bits)
    adaptable = Adaptable(model, embedding, LoraOptions(8, 16, 0.0, ("q_proj", "v_proj")))
    for parameter in adaptable.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.02)
    adaptable.save(folder)
    save_about(folder, {}, model, embedding)


def with_events(series: Series, gate: int | None) -> Series:
    """Return the series with random event channels."""
    rows = np.random.default_rng(0).standard_normal((len(series.stamps), 20)).astype(np.float32)
    return replace(series, events=replace(CHANNELS, gate=gate).inputs(rows, len(series.candles)))


def nano() -> Pair:
    """Return kronos-nano."""
    found = source(KronosEvent())
    return KronosTokenizer.from_pretrained(found.tokenizer), Kronos.from_pretrained(found.model)


def main() -> None:
    """Print a row for each size."""
    torch.set_num_threads(1)
    for size in ("nano", "mini", "small", "base"):
        pair = nano() if size == "nano" else built(size)
        series = random_walk(HORIZON).last(96 if size == "nano" else 392)
        options = Options(max_context=127 if size == "nano" else 512)
        plain = Sampler(*pair, options)
        copy = nano()[1] if size == "nano" else built(size)[1]
        with tempfile.TemporaryDirectory() as folder:
            write_adapter(Path(folder), copy, None)
            began = time.perf_counter()
            adapter = load_adapter(Path(folder), pair[1], {})
            adapted = plain.with_adapter(adapter)
            switch = time.perf_counter() - began
            megabytes = sum(path.stat().st_size for path in Path(folder).glob("*.safetensors")) / 1e6
        told = with_events(series, None)
        plain.sample([series])
        adapted.sample([told])
        without = cpu_seconds(lambda p=plain, s=series: p.sample([s]), REPEATS)
        with_it = cpu_seconds(lambda a=adapted, s=told: a.sample([s]), REPEATS)
        print(
            f"{size:<6} {1000 * without / HORIZON:7.2f} ms a step without, {1000 * with_it / HORIZON:7.2f} with: "
            f"× {with_it / without:.3f}; files {megabytes:.2f} MB, read and switched in {1000 * switch:.1f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main()
