"""``kronosfw train``."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from .options import AsOf, config_file, json_output


@click.command("train")
@config_file
@click.option("--class", "asset_class", metavar="NAME", help="Train weights of their own for one asset class.")
@click.option(
    "--from",
    "start",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Go on from these weights, such as a version; from the base unless given.",
)
@click.option("--as-of", type=AsOf(), help="Use only what was known at that moment.")
@json_output
def command(
    file: Path, asset_class: str | None, start: Path | None, as_of: datetime | str | None, as_json: bool
) -> int:
    """Train weights on the past and publish the best as a version below `checkpoint_root`.

    The same command goes on where a training was stopped, and does nothing where it had ended.

    Exit codes: 0 done; 2 usage, configuration or a trainer that cannot go on; 3 done, but without some symbols;
    5 the data failed its checks or there is too little to learn from; 75 stopped on a signal, or another process
    trains the same.
    """
    from .. import report_training
    from ..learning import follows
    from ..loading import load
    from ..training import train
    from .progress import progress

    config, plugins = load(file)
    with progress() as show:
        result = train(config, plugins, asset_class=asset_class, start=start, as_of=as_of, progress=show)
    if follows():
        return result.exit_code
    if as_json:
        click.echo(json.dumps(report_training.training_as_json(result), indent=2))
    else:
        report_training.print_training(result, config)
    return result.exit_code
