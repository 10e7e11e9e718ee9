"""``kronosfw run``."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from .options import AsOf, Symbols, config_file, json_output, store_url, with_store


@click.command("run")
@config_file
@click.option("--as-of", type=AsOf(), help="Forecast as of a past moment: latest, now, a date or a moment in UTC.")
@click.option("--symbols", type=Symbols(), help="Forecast only these symbols.")
@click.option("--explain", is_flag=True, help="Also tell how far each group of event channels moved each forecast.")
@click.option(
    "--resume", is_flag=True, help="Go on with a run that did not end, and do nothing again that is finished."
)
@store_url
@json_output
def command(
    file: Path,
    as_of: datetime | str | None,
    symbols: tuple[str, ...] | None,
    explain: bool,
    resume: bool,
    store: str | None,
    as_json: bool,
) -> int:
    """Forecast every symbol of a configuration and store the results.

    Exit codes: 0 done; 2 usage or configuration; 3 done, but some symbols or models failed; 5 the data failed
    its checks, nothing written, or too few symbols were left; 6 the store stayed down, results spooled; 75 stopped
    on a signal, --resume goes on.
    """
    import logging

    from .. import report
    from ..loading import load
    from ..logs import tell
    from ..pipeline import run
    from .progress import progress

    with progress() as show:
        config, plugins = load(file)
        config = with_store(config, store)
        result = run(config, plugins, as_of=as_of, symbols=symbols, explain=explain, resume=resume, progress=show)
    if as_json:
        click.echo(json.dumps(report.run_as_json(result), indent=2))
    else:
        report.print_run(result, config)
    if result.spooled:
        tell(
            f"the store cannot be used: {result.trouble}\n{result.spooled_rows} predictions wait in "
            f"{result.spooled}; when it can: kronosfw store replay {file} {result.spooled}",
            logging.ERROR,
        )
    return result.exit_code
