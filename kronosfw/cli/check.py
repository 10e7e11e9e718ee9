"""``kronosfw check``."""

from __future__ import annotations

from pathlib import Path

import click

from .options import config_file


@click.command("check")
@config_file
def command(file: Path) -> None:
    """Validate a configuration without running it."""
    from ..errors import ConfigError, KronosfwError
    from ..loading import load
    from ..store import address

    config, _ = load(file)
    try:
        address.parse(config.store.get_secret_value())
    except KronosfwError as error:
        raise ConfigError(f"{file}: {error}") from None
    click.echo(
        f"{file} is valid: {len(config.forecast_symbols)} symbols, "
        f"{config.horizon} bars of {config.freq} ahead, models {', '.join(config.model_names)}"
    )
