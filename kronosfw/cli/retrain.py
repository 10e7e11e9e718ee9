"""``kronosfw retrain``."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import click

from .options import AsOf, config_file, json_output


@click.command("retrain")
@config_file
@click.option("--if-due", is_flag=True, help="Only asset classes whose retraining is due: for cron.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--class", "classes", metavar="NAME", multiple=True, help="Only this asset class; may be repeated.")
@click.option("--force", is_flag=True, help="Promote even what the guard rejects by its scores.")
@click.option("--as-of", type=AsOf(), help="Do as if it were that moment.")
@json_output
def command(
    file: Path,
    if_due: bool,
    dry_run: bool,
    classes: tuple[str, ...],
    force: bool,
    as_of: datetime | str | None,
    as_json: bool,
) -> int:
    """Train each asset class on, and promote what the regression guard admits.

    Before that the last promotion is watched: one that does harm is rolled back. A class that fails does not stop
    the others.

    Exit codes: 0 done, or nothing is due; 2 usage or configuration; 3 done, but a class failed; 4 a candidate was
    rejected or a promotion rolled back; 75 stopped on a signal, or another retraining is under way.
    """
    from .. import report_retraining
    from ..loading import load
    from ..reading import not_later_than_now
    from ..retraining import retrain
    from ..rows import as_datetime
    from .progress import progress

    config, plugins = load(file)
    now = as_datetime(not_later_than_now(as_of or "now"))
    with progress() as show:
        result = retrain(
            config,
            plugins,
            classes=classes,
            if_due=if_due,
            dry_run=dry_run,
            force=force,
            now=now,
            progress=show,
        )
    if as_json:
        click.echo(json.dumps(report_retraining.retraining_as_json(result), indent=2))
    else:
        report_retraining.print_retraining(result)
    return result.exit_code
