"""What crashes do to the checkpoints on disk: simulated ones of the machine, and real kills of processes.

    python benchmarks/crashes.py images [--limit 48] [--starts 40] [--seed 0]
    python benchmarks/crashes.py kills [--kills 1000] [--seed 0] [--plant BUG]

`images` does the work of seven scenarios, stops the machine before each call that it makes of the file system, and
looks at what POSIX lets the disk hold then: no more than `limit` images each time. `starts` times for each scenario
the work is stopped, taken up by another process, and stopped again. Then each sync is left out in turn and bugs are
planted, all of which must come to light.

`kills` lets a process change checkpoints on the real file system and kills it again and again, while another loads
what serves all the time. Both end with 1 where anything was wrong.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

sys.path.append(str(Path(__file__).parents[1]))

from tests.crash_scenarios import SCENARIOS
from tests.crashing import Campaign, Found, total
from tests.killing import campaign
from tests.planted_bugs import PLANTED

FEW = 8
"""Images at each crash that bring a planted bug to light."""
console = Console(stderr=True)


def images(limit: int, starts: int, seed: int) -> bool:
    """Print what came of simulated crashes, and tell whether all is well."""
    started, well, caught, known = time.monotonic(), True, set[str](), set[str]()
    print("| scenario | calls | crash points | images | different | violations |\n|---|---|---|---|---|---|")
    for name, scenario in SCENARIOS.items():
        with tempfile.TemporaryDirectory() as folder:
            run = Campaign(scenario, Path(folder), seed)
            once, again = total(run.crash(limit)), total(run.crash_again(starts, limit))
            for what, found in ((name, once), (f"{name}, again", again)):
                figures = f"{found.points:,} | {found.images:,} | {found.different:,} | {len(found.violations)}"
                print(f"| {what} | {len(run.first.calls)} | {figures} |", flush=True)
                print("".join(f"{n} × {text}\n" for text, n in Counter(found.violations).items()), end="")
                well &= not found.violations
            known |= set(run.labels)
            for sync in sorted(set(run.labels) - caught):
                if _found(chain(run.crash(FEW, sync), run.crash_again(starts, FEW, sync))):
                    caught.add(sync)
    for bug, (name, planted) in PLANTED.items():
        with tempfile.TemporaryDirectory() as folder:
            run = Campaign(SCENARIOS[name], Path(folder), seed, planted)
            known.add(bug)
            if _found(chain(run.crash(FEW), run.crash_again(starts, FEW))):
                caught.add(bug)
    print(
        f"\n{len(caught)} of {len(known)} planted bugs came to light, in {time.monotonic() - started:.0f} s in all."
    )
    print("".join(f"Not found: {bug}\n" for bug in sorted(known - caught)), end="")
    return well and caught == known


def _found(crashes: Iterable[Found]) -> bool:
    return any(found.violations for found in crashes)


def kills(number: int, seed: int, plant: str | None) -> bool:
    """Print what came of kills, and tell whether all is well."""
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(console=console, auto_refresh=False, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("kills", total=number)
        if plant:
            PLANTED[plant][1]().__enter__()
        found = campaign(Path(folder), number, seed, lambda n: bar.update(task, completed=n + 1, refresh=True))
    print("| killed in | kills |\n|---|---|")
    print("".join(f"| {doing} | {n} |\n" for doing, n in found.kills.most_common()), end="")
    figures = f"{found.changes:,} changes, {found.reads:,} verified reads, {len(found.violations)} violations"
    print(f"\n{found.kills.total():,} kills, {figures}, {time.monotonic() - started:.0f} s.")
    print("".join(f"{text}\n" for text in found.violations[:20]), end="")
    return not found.violations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    simulated, real = commands.add_parser("images"), commands.add_parser("kills")
    simulated.add_argument("--limit", type=int, default=48)
    simulated.add_argument("--starts", type=int, default=40)
    real.add_argument("--kills", type=int, default=1000)
    real.add_argument("--plant", choices=PLANTED, help="a bug that must come to light")
    for command in (simulated, real):
        command.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable()
    if options.command == "images":
        well = images(options.limit, options.starts, options.seed)
    else:
        well = kills(options.kills, options.seed, options.plant)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
