"""``kronosfw backtest``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from .options import config_file, json_output, store_url, with_store


@click.command("backtest")
@config_file
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Processes that forecast side by side; else as the file says."
)
@click.option(
    "--by",
    type=click.Choice(("asset_class", "bucket", "event", "symbol", "cell")),
    multiple=True,
    default=("asset_class", "bucket", "event"),
    show_default=True,
    help="Groups whose scores are printed; may be repeated. A cell is of one class, bucket and bars with an event.",
)
@store_url
@json_output
def command(file: Path, workers: int | None, by: tuple[str, ...], store: str | None, as_json: bool) -> int:
    """Forecast at many past origins with every model and ensembler, and compare them.

    Begun again after it was stopped, it goes on where it was; once it is done it only prints its tables again.

    Exit codes: 0 done; 2 usage or configuration; 3 done, but some symbols or models failed; 5 the data failed
    their checks; 6 the store cannot be used; 75 stopped on a signal.
    """
    from .. import report_backtest
    from ..backtesting import backtest
    from ..loading import load
    from ..scoreboard import GROUPS
    from .progress import progress

    config, plugins = load(file)
    config = with_store(config, store)
    with progress() as show:
        result = backtest(config, plugins, workers=workers, by=GROUPS if as_json else by, progress=show)
    if as_json:
        click.echo(json.dumps(report_backtest.backtest_as_json(result), indent=2))
    else:
        report_backtest.print_backtest(result, config, by=by)
    return result.exit_code
