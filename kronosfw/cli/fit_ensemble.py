"""``kronosfw fit-ensemble``."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from .options import AsOf, config_file, json_output, store_url, with_store


@click.command("fit-ensemble")
@config_file
@click.option("--as-of", type=AsOf(), help="Learn only from what was known at that moment.")
@store_url
@json_output
def command(file: Path, as_of: datetime | str | None, store: str | None, as_json: bool) -> int:
    """Teach the configured ensembler from all forecasts that were scored, and keep what it learned.

    A run does the same where what it finds is too old. A backtest provides forecasts to learn from.

    Exit codes: 0 done; 2 usage or configuration, or an ensembler that does not learn; 6 the store cannot be used.
    """
    from ..fitting import fit_ensemble
    from ..loading import load
    from ..reading import not_later_than_now
    from ..rows import as_datetime
    from .progress import progress

    config, plugins = load(file)
    config = with_store(config, store)
    cutoff = as_datetime(not_later_than_now(as_of or "now"))
    with progress() as show:
        show("fitting", 0, 1)
        result = fit_ensemble(config, plugins, cutoff)
    if as_json:
        click.echo(json.dumps({**asdict(result), "cutoff": result.cutoff.isoformat()}, indent=2))
        return 0
    total = sum(result.outcomes.values())
    by_class = ", ".join(f"{name} {n:,}" for name, n in result.outcomes.items())
    click.echo(f"{result.model} has learned from {total:,} outcomes{f' ({by_class})' if by_class else ''}")
    for line in result.told:
        click.echo(f"  {line}")
    when = f"as of {result.cutoff:%Y-%m-%d %H:%M} UTC"
    click.echo(f"kept in {result.store}, {when}" if result.kept else f"{when}; each run learns the same by itself")
    return 0
