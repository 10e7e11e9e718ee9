"""Speed and memory of the Kronos sampler, with random weights at the sizes of the published models.

    python benchmarks/sampler.py [--sizes mini small base] [--horizons 24 120] [--parts speed bounds memory gpu]

It needs torch, numpy and safetensors, nothing else, so it runs on a bare machine; the GPU's part is left out where
there is no GPU. Everything on the CPU is CPU time on one thread, in float32.

speed: one series and its paths, against recomputation as the published code does it: the context is copied for
every path, and every step runs all positions of every copy through the model, both heads included; in the end all
tokens are decoded. That takes minutes to hours, so only a few steps of it are timed, with random tokens, and what
lies between is interpolated linearly over the steps. The tokenizer's two runs are timed in full.

bounds: the least time that the sampler's arithmetic (matrix products only) and its memory traffic (each step reads
the weights once, the context's keys and values once a series, those beyond once a path) would take on this machine,
as measured in the same run: the larger of the two, for context and steps apart.

memory: the keys and values that are kept, against a copy of the context's for each path.

gpu: the time of a step in bfloat16, from the difference of two horizons, against the same bound.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1] / "plugins" / "kronos_event"))

from kronosfw_kronos_event.kronos import generation
from kronosfw_kronos_event.kronos.candles import Scale, stamps
from kronosfw_kronos_event.kronos.draws import Filter
from kronosfw_kronos_event.kronos.engine import Engine
from kronosfw_kronos_event.kronos.generation import Generation, Options, Series
from kronosfw_kronos_event.kronos.model import Kronos, KronosConfig
from kronosfw_kronos_event.kronos.sampler import Sampler
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer, TokenizerConfig

MODELS = {
    "mini": KronosConfig(10, 10, n_layers=4, d_model=256, n_heads=4, ff_dim=512),
    "small": KronosConfig(10, 10, n_layers=8, d_model=512, n_heads=8, ff_dim=1024),
    "base": KronosConfig(10, 10, n_layers=12, d_model=832, n_heads=16, ff_dim=2048),
}
GROUPS = {"mini": 5, "small": 4, "base": 4}
PARTS = ("speed", "bounds", "memory", "gpu")
CONTEXT, PATHS = 392, 30
MAX_CONTEXT = 512
MIB, GIGA = 2**20, 1e9

Pair = tuple[KronosTokenizer, Kronos]


def built(size: str) -> Pair:
    """Return a tokenizer and a model of a published size, with random weights."""
    torch.manual_seed(0)
    tokenizer = TokenizerConfig(
        d_in=6,
        d_model=256,
        n_heads=4,
        ff_dim=512,
        n_enc_layers=4,
        n_dec_layers=4,
        s1_bits=10,
        s2_bits=10,
        beta=0.05,
        gamma0=1.0,
        gamma=1.1,
        zeta=0.05,
        group_size=GROUPS[size],
    )
    return KronosTokenizer(tokenizer).eval(), Kronos(MODELS[size]).eval()


def random_walk(horizon: int, seed: int = 0) -> Series:
    """Return a series with a context of random five-minute bars."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(rng.normal(0, 0.01, (CONTEXT, 1)).cumsum(axis=0))
    prices = close * np.exp(rng.normal(0, 0.003, (CONTEXT, 4)))
    volume = rng.lognormal(5, 1, (CONTEXT, 1))
    times = np.datetime64("2024-01-02T09:30") + np.arange(CONTEXT + horizon) * np.timedelta64(5, "m")
    return Series(np.hstack([prices, volume, volume * close]), stamps(times), seed)


def cpu_seconds(call: Callable[[], object], repeats: int = 1) -> float:
    """Return the median CPU time of a call."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


class Recomputation:
    """What the published code does for one series and its paths."""

    def __init__(self, pair: Pair, series: Series) -> None:
        self.tokenizer, self.model = pair
        z = Scale.of(series.candles).normalise(series.candles)
        self.context = torch.from_numpy(z).float().expand(PATHS, -1, -1)
        self.stamps = torch.from_numpy(series.stamps).expand(PATHS, -1, -1)

    def encode(self) -> tuple[Tensor, Tensor]:
        """Return the tokens of each copy of the context."""
        return self.tokenizer.encode(self.context)

    def step(self, length: int) -> Tensor:
        """Draw a pair after ``length`` tokens."""
        s1, s2 = self._tokens(length)
        hidden = self.model.hidden(s1, s2, self.stamps[:, :length])
        drawn = torch.multinomial(self.model.s1_logits(hidden)[:, -1].softmax(-1), 1)
        states = self.model.dep_layer(hidden, self.model.embedding.emb_s1(drawn), hidden, None, causal=False)
        return torch.multinomial(self.model.head.proj_s2(states)[:, -1].softmax(-1), 1)

    def decode(self, length: int) -> Tensor:
        """Decode all tokens of all paths."""
        return self.tokenizer.decode(*self._tokens(length))

    def _tokens(self, length: int) -> Tensor:
        return torch.randint(2**10, (2, PATHS, length))


def recomputed_seconds(pair: Pair, horizons: list[int]) -> dict[int, float]:
    """Return the CPU time of recomputation for each horizon, interpolated between the steps that are timed."""
    slow = Recomputation(pair, random_walk(max(horizons)))
    timed = sorted({step for h in horizons for step in (0, h // 2, h - 1)})
    with torch.inference_mode():
        encode = cpu_seconds(slow.encode)
        steps = [cpu_seconds(partial(slow.step, CONTEXT + step)) for step in timed]
        decode = {h: cpu_seconds(partial(slow.decode, CONTEXT + h)) for h in horizons}
    return {h: encode + float(np.interp(np.arange(h), timed, steps).sum()) + decode[h] for h in horizons}


def sampled_seconds(pair: Pair, horizon: int, options: Options, repeats: int = 3) -> float:
    """Return the CPU time of the sampler."""
    sampler, series = Sampler(*pair, options), random_walk(horizon)
    sampler.sample([random_walk(2)])
    return cpu_seconds(lambda: sampler.sample([series]), repeats)


def speed(sizes: list[str], horizons: list[int]) -> None:
    """Compare the sampler with recomputation."""
    print(f"\n## One series, context {CONTEXT}, {PATHS} paths: CPU seconds on one thread, float32\n")
    print("Recomputation: from a few timed steps, interpolated over the others. T = 1.\n")
    print("| size | steps | draws | recomputed s | sampler s | ratio |")
    print("|---|---|---|---|---|---|")
    kinds = {
        "independent": Options(PATHS, "independent"),
        "rqmc": Options(PATHS, "rqmc"),
        "rqmc, top_p 0.9": Options(PATHS, "rqmc", Filter(top_p=0.9)),
    }
    for size in sizes:
        pair = built(size)
        slow = recomputed_seconds(pair, horizons)
        for horizon in horizons:
            for name, options in kinds.items():
                ours, theirs = sampled_seconds(pair, horizon, options), slow[horizon]
                print(
                    f"| {size} | {horizon} | {name} | {theirs:.1f} | {ours:.3f} | {theirs / ours:.0f} |",
                    flush=True,
                )


@dataclass(frozen=True)
class Work:
    """What a run must do at least."""

    flops: float
    bytes: float

    def seconds(self, machine: Work) -> float:
        """Return the least time on a machine, given as flops and bytes a second."""
        return max(self.flops / machine.flops, self.bytes / machine.bytes)


def needed(pair: Pair, series: int, horizon: int, itemsize: int) -> tuple[Work, Work]:
    """Return the least work for the contexts, and for all steps after them.

    The matrix products of the logits, of attention and of the linear layers count; tables are looked up.
    """
    tokenizer, model = pair[0].config, pair[1].config
    width, small = model.d_model, tokenizer.d_model
    blocks = model.n_layers * (4 * width**2 + 3 * width * model.ff_dim)
    block = 4 * small**2 + 3 * small * tokenizer.ff_dim
    encoder, decoder = ((layers - 1) * block for layers in (tokenizer.n_enc_layers, tokenizer.n_dec_layers))
    answers, heads = 2 * width**2, width**2 + width * (2**model.s1_bits + 2**model.s2_bits)
    coders = (tokenizer.n_enc_layers + tokenizer.n_dec_layers - 2) * small
    # Half of all pairs of positions, once for the scores and once for the values.
    pairs = CONTEXT**2 * (model.n_layers * width + coders)
    context = series * (CONTEXT * (blocks + answers + encoder + decoder) + pairs)
    kept = (model.n_layers + 1) * width + (tokenizer.n_dec_layers - 1) * small
    steps, read = 0, 0
    for step in range(horizon):
        seen = kept * (CONTEXT + step)
        weights = (blocks + answers) * (step > 0) + heads + decoder
        steps += series * PATHS * (weights + 2 * seen)
        read += weights + 2 * series * kept * (CONTEXT + PATHS * step)
    read_context = blocks + answers + encoder + decoder
    return Work(2 * context, itemsize * read_context), Work(2 * steps, itemsize * read)


def measured_machine(device: str, dtype: torch.dtype) -> tuple[Work, list[tuple[str, float]]]:
    """Return the flops and bytes a second that the machine reaches, and the bytes a second by operation."""
    n, side, clock = (2**26, 1024, fastest) if device == "cpu" else (2**29, 8192, fastest_on_gpu)
    a, b, c = (torch.ones(n, device=device, dtype=dtype) for _ in range(3))
    m = torch.randn(side, side, device=device, dtype=dtype)
    moved = n * dtype.itemsize
    rates = [
        ("copy", 2 * moved / clock(lambda: a.copy_(b))),
        ("triad", 3 * moved / clock(lambda: torch.add(b, c, alpha=0.5, out=a))),
        ("dot", 2 * moved / clock(lambda: torch.dot(b, c))),
    ]
    flops = 2 * side**3 / clock(lambda: m @ m)
    return Work(flops, max(rate for _, rate in rates)), rates


def fastest(call: Callable[[], object], repeats: int = 5) -> float:
    """Return the least CPU time of a call."""
    call()
    return min(cpu_seconds(call) for _ in range(repeats))


def print_machine(device: str, dtype: torch.dtype) -> Work:
    """Measure the machine and print what it reaches."""
    machine, rates = measured_machine(device, dtype)
    moves = ", ".join(f"{name} {rate / GIGA:.1f}" for name, rate in rates)
    print(f"GB/s: {moves} (the bound takes the highest). Matrix products: {machine.flops / GIGA:.0f} GFLOP/s.\n")
    return machine


def bounds(sizes: list[str], horizons: list[int]) -> None:
    """Compare the sampler with the machine."""
    print(f"\n## Against the machine: one series, context {CONTEXT}, {PATHS} paths, rqmc, one thread, float32\n")
    machine = print_machine("cpu", torch.float32)
    print("| size | steps | tokens/s | GFLOP | GB | arithmetic s | memory s | bound s | measured s | share |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for size in sizes:
        pair = built(size)
        for horizon in horizons:
            parts = needed(pair, 1, horizon, itemsize=4)
            flops, moved = sum(part.flops for part in parts), sum(part.bytes for part in parts)
            bound = sum(part.seconds(machine) for part in parts)
            taken = sampled_seconds(pair, horizon, Options(PATHS))
            print(
                f"| {size} | {horizon} | {PATHS * horizon / taken:.0f} | {flops / GIGA:.1f} | {moved / GIGA:.2f} | "
                f"{flops / machine.flops:.3f} | {moved / machine.bytes:.3f} | {bound:.3f} | {taken:.3f} | "
                f"{bound / taken:.0%} |",
                flush=True,
            )


def memory(sizes: list[str], horizons: list[int]) -> None:
    """Compare what is remembered with a copy for each path, each in a process of its own."""
    print(f"\n## Memory: one series, context {CONTEXT}, {PATHS} paths, float32\n")
    print("Peak: the most resident memory while sampling, less that of the loaded model. A copy of the context's")
    print("keys and values for each path would come on top of it.\n")
    print("| size | steps | kept MiB | with a copy for each path MiB | ratio | peak MiB |")
    print("|---|---|---|---|---|---|", flush=True)
    for size in sizes:
        for horizon in horizons:
            inner = ["--remember", size, "--horizons", str(horizon)]
            subprocess.run([sys.executable, __file__, *inner], check=True)


def remember(size: str, horizon: int) -> None:
    """Sample once and print a row of the table."""
    engine = Engine(*built(size))
    with torch.inference_mode():
        before = resident("VmRSS")
        run = Generation(engine, Options(PATHS), [random_walk(horizon)])
        run.run()
    peak = resident("VmHWM") - before
    memories = [*run.tape.layers, run.tape.dependency, *run.decoder]
    context, beyond = sum(m.context.nbytes for m in memories), sum(m.beyond.nbytes for m in memories)
    kept, copied = context + beyond, PATHS * context + beyond
    print(
        f"| {size} | {horizon} | {kept / MIB:.0f} | {copied / MIB:.0f} | {copied / kept:.1f} | {peak / MIB:.0f} |",
        flush=True,
    )


def resident(name: str) -> int:
    """Return bytes of this process as Linux counts them; a child's ``ru_maxrss`` would include its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def gpu_seconds(call: Callable[[], object]) -> float:
    """Return the time of a call on the GPU, waits for the host included."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000


def fastest_on_gpu(call: Callable[[], object], repeats: int = 10) -> float:
    """Return the least time of a call on the GPU."""
    call()
    return min(gpu_seconds(call) for _ in range(repeats))


def step_seconds(engine: Engine, count: int, captured: bool) -> float:
    """Return the time of a step for ``count`` series: the slope from a horizon of 8 to one of 64."""

    def taken(horizon: int) -> float:
        series = [random_walk(horizon, seed) for seed in range(count)]
        runs = [Generation(engine, Options(PATHS), series) for _ in range(4)]
        return min([gpu_seconds(run.run) for run in runs][1:])

    with (
        torch.inference_mode(),
        mock.patch.object(generation, "replayed", generation.replayed if captured else lambda *_: 1),
    ):
        return (taken(64) - taken(8)) / (64 - 8)


def gpu(sizes: list[str]) -> None:
    """Time a step on the GPU and compare it with the CPU's paths."""
    print(f"\n## {torch.cuda.get_device_name()}: a step, context {CONTEXT}, {PATHS} paths, rqmc, bfloat16\n")
    machine = print_machine("cuda", torch.bfloat16)
    print("| size | series | captured ms | eager ms | bound ms | share |")
    print("|---|---|---|---|---|---|")
    for size in sizes:
        pair = built(size)
        tokenizer, model = pair
        engine = Engine(tokenizer.to("cuda"), model.to("cuda", torch.bfloat16))
        for count in (1, 23, 200):
            captured, eager = (1000 * step_seconds(engine, count, graph) for graph in (True, False))
            far, near = (needed(pair, count, h, itemsize=2)[1] for h in (64, 8))
            step = Work((far.flops - near.flops) / (64 - 8), (far.bytes - near.bytes) / (64 - 8))
            bound = 1000 * step.seconds(machine)
            print(
                f"| {size} | {count} | {captured:.3f} | {eager:.3f} | {bound:.3f} | {bound / captured:.0%} |",
                flush=True,
            )
    agreement()


def agreement() -> None:
    """Compare the paths of the GPU with those of the CPU, in float32."""
    series = [random_walk(24, seed) for seed in range(8)]
    pair = built("mini")
    paths = [
        np.stack(
            [path.candles for path in Sampler(*(part.to(device) for part in pair), Options(PATHS)).sample(series)]
        )
        for device in ("cpu", "cuda")
    ]
    apart = np.abs(paths[1] / paths[0] - 1).max(axis=(2, 3))
    same = apart < 1e-3
    print(
        f"\nfloat32 on GPU and CPU, mini, 24 steps: {same.mean():.1%} of {same.size} paths are the same within",
        end="",
    )
    print(
        f" 0.1 %; the largest difference among these is {apart[same].max(initial=0):.1e}. In the others a uniform"
    )
    print("falls so close to the edge of a token that rounding decides.")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--horizons", nargs="+", type=int, default=[24, 120])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--remember", choices=MODELS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes, horizons, parts = arguments.sizes, arguments.horizons, arguments.parts
    if not all(2 <= h <= MAX_CONTEXT - CONTEXT + 1 for h in horizons):
        parser.error(
            f"a horizon is 2 to {MAX_CONTEXT - CONTEXT + 1}: beyond it the context of {CONTEXT} would slide"
        )
    torch.set_num_threads(1)
    if arguments.remember:
        remember(arguments.remember, horizons[0])
        return
    print(f"torch {torch.__version__}")
    if "speed" in parts:
        speed(sizes, horizons)
    if "bounds" in parts:
        bounds(sizes, horizons)
    if "memory" in parts:
        memory(sizes, horizons)
    if "gpu" in parts and torch.cuda.is_available():
        gpu(sizes)


if __name__ == "__main__":
    main()
