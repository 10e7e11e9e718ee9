"""Where the time of the first `kronosfw run` of the quick start goes, with kronos-nano in it.

    python benchmarks/cold_start.py

Each figure is the median of five fresh processes. "imports" is all that is imported, up front; "load" reads the
weights and packs them; "sample" draws the paths of nine symbols; "store" opens a new SQLite database and writes;
the rest reads the configuration, makes and checks the simulated market, runs the random walk and prints.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 5
CONFIG = Path(__file__).parents[1] / "examples" / "quickstart.yaml"
PARTS = ("imports", "load", "sample", "store", "rest", "whole")
CHILD = """
import json, sys, time

began = time.perf_counter(), time.process_time()
spent = {}

def timed(name, function):
    def call(*args, **kwargs):
        start = time.perf_counter(), time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            past = spent.get(name, (0, 0))
            spent[name] = past[0] + time.perf_counter() - start[0], past[1] + time.process_time() - start[1]
    return call

def imports():
    import exchange_calendars, kronosfw.cli.run, kronosfw.pipeline, kronosfw.report
    import kronosfw_kronos_event.forecaster, safetensors.torch, torch

timed("imports", imports)()
from kronosfw import pipeline
from kronosfw.cli import main
from kronosfw.store import Store
from kronosfw_kronos_event.forecaster import KronosForecaster
from kronosfw_kronos_event.kronos.sampler import Sampler

KronosForecaster.__init__ = timed("load", KronosForecaster.__init__)
Sampler.sample = timed("sample", Sampler.sample)
pipeline._open = timed("store", pipeline._open)
Store.record = timed("store", Store.record)
sys.argv = ["kronosfw", "run", sys.argv[1]]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
whole = time.perf_counter() - began[0], time.process_time() - began[1]
spent["rest"] = tuple(w - sum(s[i] for s in spent.values()) for i, w in enumerate(whole))
spent["whole"] = whole
print(json.dumps(spent), file=sys.stderr)
"""


def once(folder: Path) -> tuple[dict[str, list[float]], float]:
    """Return wall and CPU seconds of each part, and the wall seconds of the plain command."""
    config = Path(shutil.copy(CONFIG, folder))
    split = subprocess.run([sys.executable, "-c", CHILD, str(config)], capture_output=True, text=True, check=True)
    (folder / "kronosfw.db").unlink()
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "kronosfw", "run", str(config)], capture_output=True, check=True)
    return json.loads(split.stderr.splitlines()[-1]), time.perf_counter() - start


def main() -> None:
    """Print the table."""
    runs = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(once(Path(folder)))
    print("| part | wall s | CPU s |\n|---|---|---|")
    for part in PARTS:
        wall, cpu = (statistics.median(split[part][i] for split, _ in runs) for i in range(2))
        print(f"| {part} | {wall:.2f} | {cpu:.2f} |")
    print(f"\nThe plain command: {statistics.median(plain for _, plain in runs):.2f} s wall.")


if __name__ == "__main__":
    main()
