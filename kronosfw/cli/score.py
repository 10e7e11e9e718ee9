"""``kronosfw score``."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from .options import AsOf, config_file, json_output, store_url, with_store


@click.command("score")
@config_file
@click.option("--as-of", type=AsOf(), help="Use only what was known at that moment.")
@store_url
@json_output
def command(file: Path, as_of: datetime | str | None, store: str | None, as_json: bool) -> int:
    """Compare stored forecasts with what came: fill the table signal_evaluations.

    Exit codes as those of `run`; 3 where bars of some symbols could not be read.
    """
    from .. import report
    from ..loading import load
    from ..scoring import score
    from .progress import progress

    config, _ = load(file)
    config = with_store(config, store)
    with progress() as show:
        result = score(config, as_of=as_of, progress=show)
    if as_json:
        click.echo(json.dumps(report.scores_as_json(result), indent=2))
    else:
        report.print_scores(result)
    return result.exit_code
