"""Measures a training step of the adapters at the published sizes: peak memory and tokens a second.

    python benchmarks/training_step.py [--device cpu] [--sizes mini small base] [--batch 1 2 4]

Random weights, 512 bars, 20 event channels, rank 8 on queries and values, AdamW; float32 on a CPU, bfloat16
arithmetic on a GPU (batch 32 there). Each size and batch runs in a process of its own. Memory is what the step
takes on top of Python and torch; on a CPU it grows by the same amount with every window, so that of a batch of 32
follows from two that are measured. With ``accumulate`` a batch of 32 takes no more than its parts do.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
import torch
from kronosfw_kronos_event.kronos.events import Channels, EventEmbedding
from kronosfw_kronos_event.kronos.model import Kronos
from kronosfw_kronos_event.training.adapting import Adaptable, AdaptingObjective, LoraOptions
from kronosfw_kronos_event.training.loop import value
from sampler import MODELS

BARS, CHANNELS, WARM, TIMED = 512, 20, 1, 3
MIB = 2**20


def resident() -> float:
    """Return the most memory this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(size: str, batch: int, device: str, threads: int) -> dict[str, float]:
    """Train a few steps and return what they took."""
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    cuda = device != "cpu"
    before = resident()
    model = Kronos(MODELS[size]).to(device)
    names = tuple(f"c{i}" for i in range(CHANNELS))
    events = EventEmbedding(Channels(names, (True,) * CHANNELS), model.config.d_model, 2**model.config.s1_bits)
    adaptable = Adaptable(model, events.to(device), LoraOptions(8, 16, 0.05, ("q_proj", "v_proj")))
    objective = AdaptingObjective(adaptable.to(device)).train()
    trained = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    rng = np.random.default_rng(0)
    part = {
        "tokens": rng.integers(0, 2**model.config.s1_bits, (batch, BARS, 2)),
        "stamps": rng.integers(1, 7, (batch, BARS, 5)),
        "prefix": np.full(batch, BARS // 2),
        "marked": rng.random((batch, BARS)) < 0.1,
        "events": rng.standard_normal((batch, BARS, CHANNELS + 1)).astype(np.float32),
    }
    tensors = {name: torch.from_numpy(array).to(device) for name, array in part.items()}
    for step in range(WARM + TIMED):
        if step == WARM:
            began = time.perf_counter()
        with torch.autocast("cuda" if cuda else "cpu", torch.bfloat16, enabled=cuda):
            loss = value(objective(**tensors)["loss"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if cuda:
            torch.cuda.synchronize()
    seconds = (time.perf_counter() - began) / TIMED
    peak = torch.cuda.max_memory_allocated() / MIB if cuda else resident() - before
    return {
        "seconds": seconds,
        "tokens": batch * BARS / seconds,
        "peak": peak,
        "weights": sum(p.numel() * p.element_size() for p in model.parameters()) / MIB,
        "trained": float(sum(p.numel() for p in trained)),
        "all": float(sum(p.numel() for p in adaptable.parameters())),
        "file": sum(p.numel() * p.element_size() for p in trained) / MIB,
    }


def main() -> None:
    """Print a row for each size and batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sizes", nargs="*", default=["mini", "small", "base"], choices=list(MODELS))
    parser.add_argument("--batch", nargs="*", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    batches = a.batch or ([1, 2, 4] if a.device == "cpu" else [8, 32])
    if a.one:
        print(json.dumps(measure(a.sizes[0], batches[0], a.device, a.threads)))
        return
    for size in a.sizes:
        peaks = []
        for batch in batches:
            command = [sys.executable, __file__, "--one", "--device", a.device, "--threads", str(a.threads)]
            command += ["--sizes", size, "--batch", str(batch)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            peaks.append(found["peak"])
            print(
                f"{size:<6} batch {batch:>2} × {BARS}: {found['seconds']:7.2f} s a step, {found['tokens']:7.0f} "
                f"tokens/s, peak {found['peak']:6.0f} MiB, of it weights {found['weights']:.0f}; trained "
                f"{found['trained']:,.0f} of {found['all']:,.0f} parameters, {found['file']:.2f} MiB",
                flush=True,
            )
        if len(batches) > 1 and 32 not in batches:
            slope = (peaks[-1] - peaks[0]) / (batches[-1] - batches[0])
            print(f"{size:<6} each window takes {slope:.0f} MiB, so 32 at once {peaks[0] + 31 * slope:.0f} MiB")


if __name__ == "__main__":
    main()
