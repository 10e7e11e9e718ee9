"""What kills, stops and missing stores do to runs, and how much memory runs over many symbols take.

    python benchmarks/survival.py kills [--kills 1000] [--seed 0]
    python benchmarks/survival.py postgres [--kills 300] [--seed 0]
    python benchmarks/survival.py stops [--stops 10] [--seed 0]
    python benchmarks/survival.py memory [--symbols 250 1000 2500 4000]

`kills` ends runs at random moments and when their store is at work, with kill -9 or a signal that asks to stop, and
so the runs that resume them; meanwhile days pass, bars are revised and stores are shut. `postgres` does the same to
runs whose store is a Postgres server's, and `stops` stops that server again and again in the course of one run.
What is stored in the end must be what is stored where nothing happened. Then mistakes are planted, all of which
must come to light. All but `memory` end with 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

sys.path.append(str(Path(__file__).parents[1]))

from tests.postgres import served
from tests.survival import Campaign, Tried
from tests.survival_planted import PLANTED
from tests.survival_stops import stops
from tests.survival_stores import Backend, Postgres, SQLite
from tests.survival_world import installed

CONTEXT = 400
PLANTED_KILLS = 200
"""In which a planted mistake has to come to light."""
console = Console(stderr=True)


@contextmanager
def _backend(name: str) -> Iterator[Backend]:
    if name == "kills":
        yield SQLite()
        return
    with contextmanager(served)() as server:
        yield Postgres(server)


def kills(name: str, number: int, seed: int) -> bool:
    """Print what came of kills, and tell whether all is well."""
    with (
        installed(),
        _backend(name) as backend,
        tempfile.TemporaryDirectory() as folder,
        Progress(console=console, auto_refresh=False, disable=not console.is_terminal) as bar,
    ):
        started, task = time.monotonic(), bar.add_task("kills", total=number)
        campaign = Campaign(Path(folder), backend, seed)
        found = campaign.disturb(number, lambda n: bar.update(task, completed=n, refresh=True), workers=0.05)
        _tell(found, time.monotonic() - started)
        unseen = [bug for bug in PLANTED if not _comes_to_light(bug, campaign)]
    print(f"{len(PLANTED) - len(unseen)} of {len(PLANTED)} planted mistakes came to light.")
    print("".join(f"Not found: {bug}\n" for bug in unseen), end="")
    return not found.violations and not unseen


def _tell(found: Tried, seconds: float) -> None:
    print("| ended by, when | runs |\n|---|---|")
    print("".join(f"| {how} | {n} |\n" for how, n in sorted(found.disturbed.items())), end="")
    print(
        f"\n{found.disturbed.total():,} runs were ended in {found.stories:,} stories, {found.spared:,} symbols not "
        f"forecast again, {len(found.violations)} violations, {seconds:.0f} s.",
        flush=True,
    )
    print("".join(f"{text}\n" for text in found.violations[:20]), end="")


def _comes_to_light(bug: str, campaign: Campaign) -> bool:
    campaign.planted, campaign.found = PLANTED[bug], Tried()
    while campaign.found.disturbed.total() < PLANTED_KILLS and not campaign.found.violations:
        campaign.disturb(campaign.found.disturbed.total() + 1)
    return bool(campaign.found.violations)


def stopped(number: int, seed: int) -> bool:
    """Print what came of stopping the server, and tell whether all is well."""
    with installed(), contextmanager(served)() as server, tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), Postgres(server), seed)
        violations, downs, seconds = stops(campaign, server, number)
    print(f"{downs} stops in a run of {seconds:.0f} s, {len(violations)} violations.")
    print("".join(f"{text}\n" for text in violations), end="")
    return not violations


def memory(counts: list[int]) -> None:
    """Print what runs over so many symbols take at most, each in a process of its own."""
    print("| symbols | peak MiB | seconds | kB for each symbol more |\n|---|---|---|---|", flush=True)
    before: tuple[int, int] | None = None
    for count in counts:
        command = [sys.executable, __file__, "one", str(count)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        peak, seconds = int(told[0]), float(told[1])
        more = "" if before is None else f"{(peak - before[1]) / (count - before[0]):.1f}"
        print(f"| {count:,} | {peak / 1024:.0f} | {seconds:.1f} | {more} |", flush=True)
        before = count, peak


def one(symbols: int) -> None:
    """Run over so many simulated symbols; print the peak of memory in kB, and the seconds."""
    from kronosfw.loading import load
    from kronosfw.pipeline import run

    names = "".join(f"  CRYPTO{i + 1:04d}: {{asset_class: crypto}}\n" for i in range(symbols))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(
            f"feed: {{type: simulated, count: {symbols}, start: 2024-01-01, end: 2025-05-14}}\n"
            f"universe:\n{names}context: {CONTEXT}\nhorizon: 5\nbatch: 100\n"
            "forecasters: [{type: random_walk}, {type: drift}]\nensembler: {type: mean}\nstore: sqlite:///results.db\n"
        )
        config, plugins = load(path)
        started = time.monotonic()
        assert run(config, plugins).exit_code == 0
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic() - started)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    for name, default in (("kills", 1000), ("postgres", 300)):
        commands.add_parser(name).add_argument("--kills", type=int, default=default)
    commands.add_parser("stops").add_argument("--stops", type=int, default=10)
    for name in ("kills", "postgres", "stops"):
        commands.choices[name].add_argument("--seed", type=int, default=0)
    commands.add_parser("memory").add_argument("--symbols", type=int, nargs="+", default=[250, 1000, 2500, 4000])
    commands.add_parser("one").add_argument("symbols", type=int)
    options = parser.parse_args()
    match options.command:
        case "memory":
            memory(options.symbols)
        case "one":
            one(options.symbols)
        case "stops":
            return int(not stopped(options.stops, options.seed))
        case name:
            return int(not kills(name, options.kills, options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
