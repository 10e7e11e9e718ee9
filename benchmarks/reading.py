"""How fast the feed `supabase` reads ten million bars of 2,000 symbols, and in how much memory.

Beside it a plain `COPY … TO STDOUT` of the same rows, whose output is thrown away, ADBC, and pandas' `read_sql`.
Each reads in a process of its own from one server, and keeps nothing; the memory is what the process's peak
(`ru_maxrss`) rises by from before the first row.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psycopg

sys.path.append(str(Path(__file__).parents[1]))
from tests.postgres import served

TABLE = """
CREATE UNLOGGED TABLE bars (
  symbol text, timestamp timestamptz,
  open float8, high float8, low float8, close float8, volume float8
)
"""
FILL = """
INSERT INTO bars
SELECT 'S' || lpad(s::text, 4, '0'), '2024-01-01Z'::timestamptz + d * interval '1 hour',
  100 * random(), 100 * random(), 100 * random(), 100 * random(), 1e6 * random()
FROM generate_series(1, {}) AS s, generate_series(1, {}) AS d
"""
COLUMNS = "b.symbol, b.timestamp, b.open, b.high, b.low, b.close, b.volume"
NEWEST = """
SELECT {} FROM unnest('{{{}}}'::text[]) AS w(symbol) CROSS JOIN LATERAL
(SELECT * FROM bars WHERE bars.symbol = w.symbol ORDER BY timestamp DESC LIMIT {}) AS b
"""


def names(symbols: int) -> list[str]:
    return [f"S{i:04d}" for i in range(1, symbols + 1)]


def query(symbols: list[str], last: int | None) -> str:
    if last is not None:
        return NEWEST.format(COLUMNS, ",".join(symbols), last)
    return f"SELECT {COLUMNS} FROM bars AS b WHERE b.symbol BETWEEN '{symbols[0]}' AND '{symbols[-1]}'"


def by_feed(url: str, symbols: list[str], last: int | None, chunk: int) -> Iterator[int]:
    from kronosfw_feeds_supabase.options import SupabaseFeed

    from kronosfw.types import Span

    feed = SupabaseFeed(url=url, tables={"1h": "bars"}, chunk=chunk, timeout=600).build()
    for _, frame in feed.bars(symbols, "1h", Span(np.datetime64("2030-01-01"), last=last)):
        yield len(frame)


def by_copy(url: str, symbols: list[str], last: int | None, chunk: int) -> Iterator[int]:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        for start in range(0, len(symbols), chunk):
            with cursor.copy(f"COPY ({query(symbols[start : start + chunk], last)}) TO STDOUT") as rows:
                yield sum(1 for _ in rows)


def by_adbc(url: str, symbols: list[str], last: int | None, chunk: int) -> Iterator[int]:
    import adbc_driver_postgresql.dbapi

    with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
        for start in range(0, len(symbols), chunk):
            cursor.execute(query(symbols[start : start + chunk], last))
            yield cursor.fetch_arrow_table().num_rows


def by_pandas(url: str, symbols: list[str], last: int | None, chunk: int) -> Iterator[int]:
    import pandas as pd
    from sqlalchemy import create_engine

    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    for start in range(0, len(symbols), chunk):
        yield len(pd.read_sql(query(symbols[start : start + chunk], last), engine))
    engine.dispose()


READERS: dict[str, Callable[[str, list[str], int | None, int], Iterator[int]]] = {
    "COPY": by_copy,
    "feed": by_feed,
    "ADBC": by_adbc,
    "read_sql": by_pandas,
}


def measure(reader: str, url: str, symbols: int, last: int | None, chunk: int) -> None:
    """Read, and print the rows, the seconds, and by how many MiB the peak of memory rose."""
    read = READERS[reader]
    list(read(url, names(1), 1, 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    rows = sum(read(url, names(symbols), last, chunk))
    seconds = time.perf_counter() - began
    print(rows, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def fill(url: str, symbols: int, bars: int) -> None:
    began = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLE)
        connection.execute(FILL.format(symbols, bars))
        connection.execute("ALTER TABLE bars ADD PRIMARY KEY (symbol, timestamp)")
        connection.execute("VACUUM ANALYZE bars")
    print(f"{symbols * bars:,} bars of {symbols:,} symbols written in {time.perf_counter() - began:.0f} s\n")


def main() -> None:
    """Fill a database of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=2000)
    parser.add_argument("--bars", type=int, default=5000)
    parser.add_argument("--last", type=int, default=560, help="bars of a window")
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        reader, url, *numbers = arguments.measure
        symbols, last, chunk = map(int, numbers)
        measure(reader, url, symbols, last or None, chunk)
        return
    every, few = arguments.symbols, max(1, arguments.symbols // 10)
    for server in served():
        url = server.new_database()
        fill(url, every, arguments.bars)
        print("what       reader    chunk        rows      s  k rows/s  ÷ COPY   MiB")
        for what, symbols, last in (("windows", every, arguments.last), ("all", every, 0), ("a tenth", few, 0)):
            copied = 0.0
            for reader, chunk in (
                ("COPY", 200),
                ("feed", 50),
                ("feed", 100),
                ("feed", 200),
                ("ADBC", 200),
                ("read_sql", 200),
            ):
                if what != "a tenth" and reader in ("ADBC", "read_sql"):
                    continue
                if reader == "ADBC" and find_spec("adbc_driver_postgresql") is None:
                    print("ADBC is left out: pip install adbc-driver-postgresql")
                    continue
                command = [sys.executable, __file__, "--measure", reader, url]
                command += map(str, (symbols, last, chunk))
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                rows, seconds, memory = map(float, told.split())
                rate = rows / seconds
                copied = copied or rate
                print(
                    f"{what:<10} {reader:<9} {chunk:>5} {rows:>11,.0f} {seconds:>6.1f} {rate / 1000:>9.0f} "
                    f"{rate / copied:>7.2f} {memory:>5.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
