"""The command line. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Literal

import click

from ..errors import ConfigError, KronosfwError
from .group import KronosfwGroup, ReaderLeftError


def _begin_to_log(context: click.Context, parameter: click.Parameter, value: Literal["text", "json"]) -> str:
    """Log in this format from here on, so that a mistake in what follows is told in it as well."""
    from ..logs import Logging

    Logging(format=value).begin()
    return value


@click.group(cls=KronosfwGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="kronosfw")
@click.option("-v", "--verbose", count=True, help="Say more on stderr; twice for everything.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="KRONOSFW_LOG_FORMAT",
    show_envvar=True,
    callback=_begin_to_log,
    help="What stderr is: text for people, or a JSON object a line.",
)
def cli(verbose: int, log_format: Literal["text", "json"]) -> None:
    """Forecast market data: calibrated envelopes for every symbol, from one YAML file."""
    import logging

    from ..logs import Logging

    Logging((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)], log_format).begin()


def main() -> None:
    """Run the command line; every way out is an exit code listed in ``kronosfw.errors``."""
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Run a command and return its exit code, with one clear message on stderr for what went wrong."""
    try:
        result = cli.main(arguments, prog_name="kronosfw", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except KronosfwError as error:
        message = _say(str(error), error.exit_code)
        if "--json" in arguments:
            click.echo(json.dumps({"exit_code": error.exit_code, "error": message}, indent=2))
        return error.exit_code
    except click.ClickException as error:
        if _is_json():
            _say(error.format_message(), ConfigError.exit_code)
        else:
            error.show()
        return ConfigError.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except ReaderLeftError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        return _bug(error)


def _bug(error: Exception) -> int:
    """Report our own mistake. Its text is kept back unless asked for: it may hold what must not be shown."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__} in {place.name}, {'/'.join(Path(place.filename).parts[-2:])}:{place.lineno}"
    message = f"kronosfw failed unexpectedly: {what}"
    if not os.environ.get("KRONOSFW_DEBUG"):
        _say(f"{message}; set KRONOSFW_DEBUG=1 to see the traceback", KronosfwError.exit_code)
    elif _is_json():
        _say(message, KronosfwError.exit_code, error)
    else:
        from ..secrets import redact

        click.echo(redact("".join(traceback.format_exception(error))), err=True, nl=False)
    return KronosfwError.exit_code


def _say(message: str, exit_code: int, error: Exception | None = None) -> str:
    """Show an error and return it as shown: without secrets."""
    from ..secrets import redact
    from ..visible import visible

    shown = visible(redact(message))
    if _is_json():
        import logging

        from ..logs import tell

        tell(shown, logging.ERROR, error, exit_code=exit_code)
    else:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {shown}", err=True)
    return shown


def _is_json() -> bool:
    from ..logs import Logging

    return Logging.current().format == "json"
