"""``kronosfw init``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="kronosfw.yaml")
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
@click.option("--supabase", is_flag=True, help="Print the SQL that makes a Supabase project's tables, and end.")
@click.pass_context
def command(context: click.Context, file: Path, force: bool, supabase: bool) -> None:
    """Write a commented configuration to start from."""
    from ..errors import ConfigError

    if supabase:
        if force or context.get_parameter_source("file") is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError("--supabase prints the SQL and takes no file")
        click.echo(_ddl("supabase"), nl=False)
        return
    text = files(__package__).joinpath("template.yaml").read_text("utf-8")
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise ConfigError(f"{file} exists; --force overwrites it") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
    click.echo(f"Wrote {file}. Next: kronosfw run {file}", err=True)


def _ddl(feed: str) -> str:
    """Return the SQL of a feed's tables; raises PluginError where no plugin installed has it."""
    from ..errors import PluginError
    from ..plugins import Plugins

    plugins = Plugins.installed()
    ddl = getattr(plugins.components["feed"].get(feed), "ddl", None)
    if ddl is None:
        wanted = f"the feed {feed} is not installed: pip install kronosfw-feeds-{feed}"
        raise PluginError(plugins.explain("feed", feed) or wanted)
    return str(ddl())
