"""``kronosfw init``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="kronosfw.yaml")
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def command(file: Path, force: bool) -> None:
    """Write a commented configuration to start from."""
    from ..errors import ConfigError

    text = files(__package__).joinpath("template.yaml").read_text("utf-8")
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise ConfigError(f"{file} exists; --force overwrites it") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
    click.echo(f"Wrote {file}. Next: kronosfw run {file}", err=True)
