"""The same bars and events give the same forecasts, whichever feed brings them, to the last bit."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest
from kronosfw_feeds_supabase.options import SupabaseFeed

from kronosfw.encoding import build_encoders, leaders_of
from kronosfw.loading import load
from kronosfw.plugins import Plugins
from kronosfw.reading import read, read_facts
from kronosfw.testing.market import LEADERS, random_bars, random_facts
from kronosfw.types import Window
from kronosfw.windows import Cutter
from tests.postgrest import Api

pytestmark = pytest.mark.postgres
SYMBOLS = ("S0", "S1", "S2")
AS_OF = pd.Timestamp("2024-01-20T09:00", tz="UTC")
UNIVERSE = {symbol: {"asset_class": "crypto", "forecast": symbol in SYMBOLS} for symbol in (*SYMBOLS, *LEADERS)}
BASE = f"""\
universe: {json.dumps(UNIVERSE)}
horizon: 4
context: 120
encoders: [{{type: macro20, btc: BTCUSDT, spy: SPY, dxy: DXY, vix: VIX}}]
forecasters: [{{type: har}}, {{type: random_walk}}]
ensembler: {{type: mean}}
store: sqlite:///results.db
"""


def bars() -> pd.DataFrame:
    parts = []
    for symbol in (*SYMBOLS, *LEADERS):
        made = random_bars(symbol, 400)
        part = pd.DataFrame(np.array(made.values), columns=list(made.columns))
        part.insert(0, "timestamp", pd.DatetimeIndex(made.times.time).strftime("%Y-%m-%dT%H:%M:%SZ"))
        part.insert(0, "symbol", symbol)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def events() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "event": fact.event,
            "kind": fact.kind,
            "scheduled_at": f"{fact.scheduled_at}Z",
            "known_at": f"{fact.known_at}Z",
            "symbols": ";".join(fact.symbols) or None,
            **{name: fact.values.get(name) for name in ("importance", "actual", "forecast", "previous")},
        }
        for fact in random_facts(SYMBOLS)
    )


def fill(project: Api) -> None:
    """Write the same tables into the project, rows in another order."""
    project.run(SupabaseFeed.ddl())
    calendar = events().assign(
        symbols=lambda rows: rows["symbols"].map(lambda s: s and f"{{{s.replace(';', ',')}}}")
    )
    with psycopg.connect(project.database_url) as connection, connection.cursor() as cursor:
        for table, rows in (("ohlcv_1d", bars()), ("economic_calendar", calendar)):
            shuffled = rows.sample(frac=1, random_state=1).astype(object).where(rows.notna(), None)
            with cursor.copy(f"copy {table} ({', '.join(rows.columns)}) from stdin") as copy:
                for row in shuffled.itertuples(index=False):
                    copy.write_row(row)


def feeds(folder: Path, project: Api) -> dict[str, dict[str, object]]:
    """Return the feed's options for each backend."""
    bars().to_csv(folder / "bars.csv", index=False)
    events().to_csv(folder / "events.csv", index=False)
    bars().to_parquet(folder / "bars.parquet")
    events().to_parquet(folder / "events.parquet")
    with sqlite3.connect(folder / "bars.db") as connection:
        bars().to_sql("bars", connection, index=False)
        events().to_sql("events", connection, index=False)
    connection.close()
    fill(project)
    return {
        "csv": {"type": "csv", "path": "bars.csv", "calendar": "events.csv"},
        "parquet": {"type": "parquet", "path": "bars.parquet", "calendar": "events.parquet"},
        "sqlite": {"type": "sql", "url": "sqlite:///bars.db", "facts_table": "events"},
        "postgres": {
            "type": "sql",
            "url": project.database_url,
            "table": "ohlcv_1d",
            "facts_table": "calendar",
        },
        "supabase": {"type": "supabase", "url": project.database_url},
        "supabase, rest": {
            "type": "supabase",
            "transport": "rest",
            "url": project.url,
            "rest_path": "",
            "key": project.token("service_role"),
        },
    }


def windows(path: Path, feed: dict[str, object]) -> tuple[list[Window], list[np.ndarray]]:
    """Return the windows of a configuration, and each one's forecasts."""
    path.write_text(f"feed: {json.dumps(feed)}\n{BASE}", "utf-8")
    config, _ = load(path, Plugins.installed())
    encoders = build_encoders(config)
    market = read(config, [*SYMBOLS, *leaders_of(encoders)], AS_OF.to_pydatetime(), lambda *_: None, last=200)
    assert not market.failures
    facts = read_facts(config, SYMBOLS, market.bars["S0"].times.time[0], market.cutoff)
    assert facts
    cutter = Cutter.of(config, config.context, encoders, facts, market.bars)
    cut = [cutter.window(market.bars[s], market.cutoff, asset_class="crypto", market="24/7") for s in SYMBOLS]
    forecasters = [options.build() for options in config.forecasters]
    return cut, [f.quantiles for each in forecasters for f in each.forecast(cut, (0.1, 0.5, 0.9))]


def test_all_backends_give_the_same_windows_and_forecasts(tmp_path, project: Api):
    backends = feeds(tmp_path, project)
    # The feed `sql` takes symbols in one text.
    project.run(
        "create view calendar as select event, kind, scheduled_at, known_at, "
        "array_to_string(symbols, ';') symbols, importance, actual, forecast, previous from economic_calendar"
    )
    cut, forecasts = windows(tmp_path / "config.yaml", backends.pop("csv"))
    known = cut[0].covariates
    assert known is not None
    moving = [len(np.unique(values[~gone])) > 1 for values, gone in zip(known.values.T, known.mask.T, strict=True)]
    assert sum(moving) > 12, "the channels must have something to say"
    for name, feed in backends.items():
        others, theirs = windows(tmp_path / "config.yaml", feed)
        for one, other in zip(cut, others, strict=True):
            assert np.array_equal(one.bars.values, other.bars.values), name
            assert np.array_equal(one.bars.times.time, other.bars.times.time), name
            assert one.covariates is not None
            assert other.covariates is not None
            assert np.array_equal(one.covariates.values, other.covariates.values), name
            assert np.array_equal(one.covariates.mask, other.covariates.mask), name
        for mine, its in zip(forecasts, theirs, strict=True):
            assert np.array_equal(mine, its), name
