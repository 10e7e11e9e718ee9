"""Whatever stands in names and values that reach a database is data there, from the feed to what is exported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sqlalchemy import Column, Engine, Float, MetaData, String, Table, create_engine, insert, text

from kronosfw.address import parse
from kronosfw.cli import call
from kronosfw.testing.market import random_bars

DROP = "; drop table canary; --"
SYMBOLS = [f"A'{DROP}", f'B"{DROP}', "C%(x)s%s%%", "D:name", "E\\'", "F' or '1'='1"]
SYMBOLS += ["NULL", "${G}", "H{0}", "%", "_"]
MODEL = f"m'\"{DROP}"
COLUMNS = {
    "time": f't"{DROP}',
    "symbol": f"s'{DROP}",
    "open": "o%(x)s",
    "high": "h:igh",
    "low": 'l"ow',
    "close": "c'lose",
}
BARS, FREQ, FACTS, SCHEMA = f'bars"{DROP}', f"f'%s{DROP}", f"facts'{DROP}", f'sch"%s{DROP}'


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'market.db'}"


@pytest.fixture
def file(url: str, tmp_path: Path) -> Iterator[Path]:
    """A configuration with a hostile name wherever one can stand; the canary in its database must survive."""
    schema = {"schema": SCHEMA} if url.startswith("postgres") else {}
    feed = {"type": "sql", "url": url, "table": BARS, "columns": COLUMNS, "freq_column": FREQ, "facts_table": FACTS}
    config = {
        "feed": {**feed, **schema},
        "universe": {symbol: {"asset_class": "crypto"} for symbol in SYMBOLS},
        "horizon": "2",
        "context": "80",
        "forecasters": [{"type": "random_walk", "name": MODEL}],
        "store": url,
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config, default_style='"', width=1000))
    database = create_engine(parse(url, "url").url)
    fill(database, **schema)
    assert call(["store", "migrate", str(path)]) == 0
    yield path
    with database.begin() as connection:
        assert connection.execute(text("select name from canary")).all() == [("alive",)]
    database.dispose()


def fill(database: Engine, schema: str | None = None) -> None:
    metadata = MetaData(schema=schema)
    prices = [Column(COLUMNS[name], Float) for name in ("open", "high", "low", "close")]
    names = (COLUMNS["time"], COLUMNS["symbol"], FREQ)
    bars = Table(BARS, metadata, *(Column(name, String) for name in names), *prices)
    words = ("event", "kind", "scheduled_at", "known_at", "symbols")
    facts = Table(FACTS, metadata, *(Column(name, String) for name in words))
    with database.begin() as connection:
        connection.execute(text("create table canary (name text)"))
        connection.execute(text("insert into canary values ('alive')"))
        if schema:
            connection.execute(text('create schema "' + schema.replace('"', '""') + '"'))
        metadata.create_all(connection)
        for symbol in SYMBOLS:
            connection.execute(insert(bars), rows(symbol))
            told = (f"e'{DROP}", f"k'{DROP}", "2023-05-02", "2023-01-01", symbol)
            connection.execute(insert(facts), dict(zip(words, told, strict=True)))


def rows(symbol: str) -> list[dict[str, Any]]:
    drawn = random_bars(symbol, 120)
    frame = pd.DataFrame(np.array(drawn.values), columns=list(drawn.columns))[["open", "high", "low", "close"]]
    frame["time"] = pd.DatetimeIndex(drawn.times.time).strftime("%Y-%m-%d")
    frame = frame.assign(symbol=symbol).rename(columns=COLUMNS)
    return [{**row, FREQ: "1d"} for row in frame.to_dict("records")]


def test_names_and_symbols_are_data(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        code = call([arguments[0], str(file), *arguments[1:]])
        shown = capsys.readouterr()
        assert code == 0, shown
        return shown.out

    result = json.loads(said("run", "--as-of", "2023-04-20", "--json"))
    assert {f["symbol"] for f in result["forecasts"]} == set(SYMBOLS)
    assert json.loads(said("score", "--json"))["scored"] == 2 * len(SYMBOLS)
    few = json.loads(said("run", "--symbols", SYMBOLS[0], "--as-of", "2023-04-28", "--json"))
    assert {f["symbol"] for f in few["forecasts"]} == {SYMBOLS[0]}
    report = json.loads(said("report", "--json"))
    assert DROP in json.dumps(report), "its events and its model"
    out = file.with_name("out.parquet")
    said("export", "--format", "autogluon", "--model", MODEL, "--as-of", "2023-04-20", "--out", str(out))
    assert set(pd.read_parquet(out)["item_id"]) == set(SYMBOLS)


@pytest.mark.parametrize("option", ["--run", "--model"])
def test_what_is_asked_for_is_data(file: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert call(["run", str(file), "--symbols", SYMBOLS[0], "--as-of", "2023-04-20"]) == 0
    command = ["export", str(file), "--format", "nixtla", "--out", str(file.with_name("out.csv"))]
    assert call([*command, option, f"x' or 1=1{DROP}"]) in (2, 5)
    assert not file.with_name("out.csv").exists()
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("table", [f"bars where 1=1{DROP}", f"(select * from canary) x{DROP}", "canary'--"])
def test_a_table_is_a_name_and_no_query(file: Path, capsys: pytest.CaptureFixture[str], table: str) -> None:
    config = yaml.safe_load(file.read_text())
    config["feed"]["table"] = table
    file.write_text(yaml.safe_dump(config, width=1000))
    assert call(["run", str(file)]) == 2
    assert "there is no table" in capsys.readouterr().err


@pytest.mark.parametrize("option", [f"options=-c search_path=x'{DROP}", f"application_name=x'{DROP}", f"{DROP}=1"])
def test_options_of_the_url_run_nothing(file: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    """The fixture looks after the canary."""
    url = yaml.safe_load(file.read_text())["store"]
    assert call(["run", str(file), "--as-of", "2023-04-20", "--store", f"{url}?{option}"]) in (0, 2, 6)
    shown = capsys.readouterr()
    assert "unexpectedly" not in shown.err
