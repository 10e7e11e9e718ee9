"""Thousands of malformed configurations and CSV files: each is used or refused clearly, and harms no other.

    python benchmarks/malformed.py [--number 1000] [--seed 0]

Ends with 1 where one was not, and prints the shortest such text that was found.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import SearchStrategy

sys.path.append(str(Path(__file__).parents[1]))

from tests.malformed import CONFIGURATIONS, CSV_FILES, check_configuration, check_csv_file, fill

CAMPAIGNS = {
    "configurations": (CONFIGURATIONS, check_configuration),
    "CSV files": (CSV_FILES, check_csv_file),
}


def tried(texts: SearchStrategy[str], check: Callable[[Path, str], None], number: int, start: int) -> None:
    """Check so many texts; raises AssertionError for the shortest that fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder)

        @seed(start)
        @settings(max_examples=number, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(text=texts)
        def each(text: str) -> None:
            check(folder, text)

        each()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    failed = 0
    for what, (texts, check) in CAMPAIGNS.items():
        started = time.monotonic()
        try:
            tried(texts, check, options.number, options.seed)
            came = "used or refused clearly"
        except AssertionError as error:
            failed, came = 1, f"one was neither: {error}"
        print(f"{options.number} malformed {what} in {time.monotonic() - started:.0f} s: {came}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
