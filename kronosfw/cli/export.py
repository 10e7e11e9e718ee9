"""``kronosfw export``."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path

import click

from .options import AsOf, config_file, store_url, with_store


@click.command("export")
@config_file
@click.option(
    "--format", "form", type=click.Choice(["nixtla", "autogluon"]), required=True, help="Whose tables it is to be."
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File: .csv or .parquet."
)
@click.option("--as-of", type=AsOf(), help="The forecasts of the last cutoff by that moment.")
@click.option("--run", metavar="ID", help="The forecasts of one run or backtest.")
@click.option("--model", "models", metavar="NAME,…", help="These models alone.")
@click.option("--actuals", is_flag=True, help="Add the prices that came, as far as they were scored.")
@store_url
def command(
    file: Path,
    form: str,
    out: Path,
    as_of: datetime | str | None,
    run: str | None,
    models: str | None,
    actuals: bool,
    store: str | None,
) -> None:
    """Write stored forecasts as a table of other tools: the live ones of the latest cutoff unless told otherwise.

    nixtla: the cross-validation frames of statsforecast, neuralforecast and utilsforecast. autogluon: the
    forecasts of AutoGluon, GIFT-Eval and fev.
    """
    from ..errors import ConfigError
    from ..files import write_atomically
    from ..interchange import stored, tables
    from ..loading import load
    from ..logs import tell
    from ..store import Store

    suffix = out.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--out {out}: expected a name that ends in .csv or .parquet")
    if run is not None and as_of is not None:
        raise ConfigError("give --as-of or --run, not both: a run has its own cutoffs")
    config = with_store(load(file)[0], store)
    with Store.of(config) as source:
        if run is None:
            by = as_of if isinstance(as_of, datetime) else None
            rows = stored.live(source, config.freq, config.universe.keys(), by)
        else:
            rows = stored.of_run(source, run)
        if models is not None:
            rows = stored.of_models(rows, [name.strip() for name in models.split(",")])
        came = stored.realised(source, rows) if actuals else None
    frame = tables.quantile_frame(rows, came)
    try:
        table = tables.to_nixtla(frame) if form == "nixtla" else tables.to_autogluon(frame)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    try:
        write_atomically(out, partial(tables.write_table, table, suffix))
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"--out {out}: {error}") from None
    lost = tables.unpaired(frame) if form == "nixtla" else []
    if lost:
        told = ", ".join(f"{level:g}" for level in lost)
        tell(f"left out, for want of the level on the other side of the median: {told}")
    if actuals and frame["actual"].isna().any():
        tell("some targets have no price yet: score them with `kronosfw score`")
    names = ", ".join(sorted({row["model_name"] for row in rows}))
    cutoffs = sorted({row["as_of"] for row in rows})
    span = " to ".join(f"{when:%Y-%m-%d %H:%M} UTC" for when in dict.fromkeys((cutoffs[0], cutoffs[-1])))
    click.echo(f"{len(table)} rows in {out}: {names}, as of {span}")
