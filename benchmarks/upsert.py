"""Writes predictions to Postgres in bulk and one by one, and prints a table.

    python benchmarks/upsert.py [--rows 100000] [--rounds 3]

A server of its own, fsync off. ``first`` writes all rows to empty tables, ``again`` the same ones, which changes
nothing; each is the best of the rounds, in which the two ways take turns. CPU is that of this process, not the
server's. ``plain COPY`` sends the same rows straight into the empty table: constraints and indexes take that long
whatever the way. ``bare`` rows hold p10, p50 and p90, ``full`` ones twelve quantiles more, as JSON.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from kronosfw.store import Store, address, copying, upsert
from kronosfw.store.engine import open_engine
from kronosfw.store.tables import ml_predictions
from tests.postgres import Server, served
from tests.rows import prediction, run_row

Times = tuple[float, ...]
STEPS = 5
WRITES = ("first", "again")
WAYS = {"bulk": upsert.FEW, "one by one": sys.maxsize}


def rows(count: int, full: bool) -> list[dict[str, Any]]:
    chance = random.Random(0)
    made = []
    for number in range(count):
        symbol, step = divmod(number, STEPS)
        p10, p50, p90 = sorted(100 * chance.random() for _ in range(3))
        row = prediction(step + 1, symbol=f"S{symbol:06d}", p10=p10, p50=p50, p90=p90, quantiles=None)
        if full:
            columns = ("open", "high", "low", "amount")
            row["quantiles"] = {c: {q: 100 * chance.random() for q in ("0.1", "0.5", "0.9")} for c in columns}
        made.append(row)
    return made


def plain_copy(url: str, given: list[dict[str, Any]]) -> None:
    """COPY into the table, and take it back."""
    engine = open_engine(address.parse(url))
    stamps = {"run_id": "a1b2", "created_at": datetime.now(UTC)}
    with engine.connect() as connection:
        copying.copy(connection, ml_predictions, given, stamps, ml_predictions.name)
    engine.dispose()


def timed(work: Callable[[], object]) -> Times:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(server: Server, given: list[dict[str, Any]], rounds: int) -> dict[str, Times]:
    """Return the least wall and CPU seconds of each way and write, and of a plain COPY."""
    found: dict[str, list[Times]] = defaultdict(list)
    for _ in range(rounds):
        for way, few in WAYS.items():
            upsert.FEW = few
            url = server.new_database()
            with Store(url) as store:
                store.record(run_row(), [])
                if way == "bulk":
                    found["plain COPY"].append(timed(lambda url=url: plain_copy(url, given)))
                for write in WRITES:
                    found[f"{way}, {write}"].append(timed(lambda store=store: store.record(run_row(), given)))
    return {what: tuple(map(min, zip(*times, strict=True))) for what, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    print("| rows | write | bulk s | one by one s | ratio | bulk CPU s | one by one CPU s | ratio | plain COPY s |")
    print("|---|---|---|---|---|---|---|---|---|")
    with contextmanager(served)() as server:
        for kind in ("bare", "full"):
            found = measure(server, rows(chosen.rows, kind == "full"), chosen.rounds)
            for write in WRITES:
                pairs = zip(found[f"bulk, {write}"], found[f"one by one, {write}"], strict=True)
                cells = [f"{bulk:.2f} | {single:.2f} | {single / bulk:.1f}" for bulk, single in pairs]
                print(f"| {kind} | {write} | {' | '.join(cells)} | {found['plain COPY'][0]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
