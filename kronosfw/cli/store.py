"""``kronosfw store``."""

from __future__ import annotations

from pathlib import Path

import click

from .options import config_file, store_url, with_store


@click.group("store")
def command() -> None:
    """Look after the database of results."""


@command.command()
@config_file
@store_url
def migrate(file: Path, store: str | None) -> None:
    """Bring the tables of the configuration's store up to this version of kronosfw."""
    from ..loading import load
    from ..store import Store

    config = with_store(load(file)[0], store)
    with Store.of(config, migrate=True) as target:
        changed = target.migrated
    click.echo("The tables were brought up to date." if changed else "The tables are up to date.")


@command.command()
@config_file
@click.argument("spooled", type=click.Path(path_type=Path))
@store_url
def replay(file: Path, spooled: Path, store: str | None) -> None:
    """Store the results that a run left in a folder of the spool while the store was down."""
    from ..loading import load
    from ..store import Store, lacking
    from ..store import replay as store_spooled

    config = with_store(load(file)[0], store)
    with Store.of(config) as target:
        rows = store_spooled(spooled, target)
    if lacks := lacking(spooled):
        click.echo(f"{rows} predictions added or changed.")
        click.echo(f"warning: the run in {spooled} {lacks}; see that it is whole before you delete it", err=True)
    else:
        click.echo(f"{rows} predictions added or changed; {spooled} can be deleted.")
