"""``kronosfw report``."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from .options import AsOf, Symbols, config_file, json_output, store_url, with_store


@click.command("report")
@config_file
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The page; report.html beside FILE unless given."
)
@click.option("--as-of", type=AsOf(), help="Show only what was known at that moment.")
@click.option("--backtest", default="latest", metavar="ID", help="Scores of which backtest: an id, latest or none.")
@click.option("--symbols", type=Symbols(), help="Show only these symbols.")
@store_url
@click.option("--text", is_flag=True, help="Print the report in the terminal instead.")
@json_output
def command(
    file: Path,
    out: Path | None,
    as_of: datetime | str | None,
    backtest: str,
    symbols: tuple[str, ...] | None,
    store: str | None,
    text: bool,
    as_json: bool,
) -> int:
    """Show the latest forecasts and how good such forecasts have been: one HTML file, for people.

    With --text or --json nothing is written unless --out is given. Exit codes: 0 done; 2 usage or configuration;
    3 done, but the feed could not be read; 5 there is nothing to show; 6 the store cannot be used.
    """
    from ..errors import DONE, PARTIAL
    from ..loading import load
    from ..logs import tell
    from ..page.gather import gather
    from .progress import progress

    config, _ = load(file)
    config = with_store(config, store)
    with progress() as show:
        content = gather(config, file=str(file), as_of=as_of, backtest=backtest, symbols=symbols, progress=show)
    if as_json:
        from ..page.content import as_json as plain

        click.echo(json.dumps(plain(content), indent=2))
    elif text:
        from ..page.terminal import print_report

        print_report(content)
    if out is not None or not (text or as_json):
        from ..page.render import write

        path = out or file.with_name("report.html")
        size = write(content, path)
        (tell if text or as_json else click.echo)(f"{path}, {size / 1e3:,.0f} kB")
    return PARTIAL if content.troubles else DONE
