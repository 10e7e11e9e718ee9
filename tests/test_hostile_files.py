"""Small or strange files that want all the memory there is: each is refused by name, and the others go on."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .bounded import bounded
from .test_cli import write_bars

HEAD = b"Date,Open,High,Low,Close,Volume\n"
ROW = b"2023-01-01,10,12,9,11,5\n"
PRICES = ("Open", "High", "Low", "Close")


def sparse(path: Path) -> None:
    path.write_bytes(HEAD + ROW)
    os.truncate(path, 50 * 1024**3)


CSV: dict[str, tuple[Callable[[Path], object], str]] = {
    "LINE": (lambda path: path.write_bytes(b"x" * 20_000_000), "the header 'xxx"),
    "FIGURE": (lambda path: path.write_bytes(HEAD + b"1" * 20_000_000), "a line is longer than 1 MiB"),
    "HEADER": (lambda path: path.write_bytes(b"c," * 1_000_000), "columns; at most 4096 are read"),
    "FIELDS": (lambda path: path.write_bytes(HEAD + b"," * 1_000_000), "the row has 1000001 fields"),
    "QUOTED": (lambda path: path.write_bytes(HEAD + b'"' + ROW * 200_000), "line 2: field larger than field limit"),
    "QUOTES": (lambda path: path.write_bytes(HEAD + b'"""",' * 200_000), "the row has 200001 fields"),
    "GZIP": (lambda path: path.write_bytes(gzip.compress(HEAD + ROW * 100)), "expected text in UTF-8"),
    "BLANK": (lambda path: path.write_bytes(HEAD + b"\n" * 100_000_000), "there is a header and no row"),
    "BEFORE": (lambda path: path.write_bytes(b"\n" * 2_000_000 + HEAD), "the file is empty"),
    "SPARSE": (sparse, "larger than `max_bytes` (2147483648)"),
    "TWINS": (lambda path: path.write_bytes(b"Close," * 4000 + b"\n"), "'Close' stands there twice"),
    "ZERO": (lambda path: path.symlink_to("/dev/zero"), "is named after it"),
    "PIPE": (lambda path: os.mkfifo(path), "is named after it"),
    "LOOP": (lambda path: path.symlink_to(path.name), "is named after it"),
}


def table(time: object, prices: object, rows: int) -> pa.Table:
    return pa.table({"Date": time, **dict.fromkeys(PRICES, prices)}).slice(0, rows)


def repeated(path: Path) -> None:
    """One text of 20 MB, which stands in the file once and is the time of 200 rows."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(200, np.int32)), pa.array(["x" * 20_000_000]))
    pq.write_table(table(text, np.ones(200), 200), path, compression="zstd", store_schema=False)


def rows(path: Path, prices: pa.Array) -> None:
    """So many rows that are all the same: hardly a byte each."""
    part = table(pa.repeat("2023-01-01", len(prices)), prices, len(prices))
    with pq.ParquetWriter(path, part.schema, compression="zstd") as file:
        for _ in range(3):
            file.write_table(part)


def long(path: Path) -> None:
    """Texts that hardly need room only as long as they are packed."""
    part = table(["x" * 40_000_000], [1.0], 1)
    with pq.ParquetWriter(path, part.schema, compression="zstd", use_dictionary=False) as file:
        for _ in range(3):
            file.write_table(part)


PARQUET: dict[str, tuple[Callable[[Path], object], str]] = {
    "REPEATED": (repeated, "the texts of 200 rows need more than `max_bytes`"),
    "ROWS": (lambda path: rows(path, pa.array(np.ones(1_000_000))), "3000000 rows need more than `max_bytes`"),
    "NULLS": (lambda path: rows(path, pa.nulls(1_000_000, pa.float64())), "3000000 rows need more than"),
    "LISTS": (
        lambda path: pq.write_table(table(["2023-01-01"], pa.array([[1.0] * 9_000_000]), 1), path),
        "expected one value in each row",
    ),
    "LONG": (long, "3 rows need more than `max_bytes`"),
}


@pytest.mark.parametrize(("kind", "bombs"), [("csv", CSV), ("parquet", PARQUET)])
def test_each_is_refused_and_the_others_go_on(tmp_path: Path, kind: str, bombs: dict[str, tuple]) -> None:
    folder = tmp_path / "bars"
    folder.mkdir()
    write_bars(tmp_path / "good.csv", "GOOD")
    good = pd.read_csv(tmp_path / "good.csv")
    good.to_csv(folder / "GOOD.csv", index=False) if kind == "csv" else good.to_parquet(folder / "GOOD.parquet")
    for symbol, (make, _) in bombs.items():
        make(folder / f"{symbol}.{kind}")
    symbols = ", ".join(f"{symbol}: {{asset_class: crypto}}" for symbol in ("GOOD", *bombs))
    most = "" if kind == "csv" else ", max_bytes: 100000000"
    (tmp_path / "config.yaml").write_text(
        f"feed: {{type: {kind}, path: bars/*.{kind}{most}}}\nuniverse: {{{symbols}}}\nmin_symbols: 0\n"
        "horizon: 3\ncontext: 100\nforecasters: [{type: random_walk}]\nstore: sqlite:///results.db\n"
    )
    ((code, said),) = json.loads(bounded(tmp_path, ["run", "config.yaml", "--as-of", "2023-05-01", "--json"]))
    assert code == 3, said
    result = json.loads(said)
    assert {forecast["symbol"] for forecast in result["forecasts"]} == {"GOOD"}
    told = {failure["symbol"]: failure["reason"] for failure in result["failures"]}
    assert told.keys() == bombs.keys()
    for symbol, (_, reason) in bombs.items():
        assert reason in told[symbol]
        assert len(told[symbol]) < 1000
