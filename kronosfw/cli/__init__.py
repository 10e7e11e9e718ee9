"""The command line. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

import click

from ..errors import ConfigError, KronosfwError
from .group import KronosfwGroup, ReaderLeftError


@click.group(cls=KronosfwGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="kronosfw")
@click.option("-v", "--verbose", count=True, help="Say more on stderr; twice for everything.")
def cli(verbose: int) -> None:
    """Forecast market data: calibrated envelopes for every symbol, from one YAML file."""
    import logging

    from ..secrets import log_to_stderr

    log_to_stderr((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])


def main() -> None:
    """Run the command line; every way out is an exit code listed in ``kronosfw.errors``."""
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Run a command and return its exit code, with one clear message on stderr for what went wrong."""
    try:
        result = cli.main(arguments, prog_name="kronosfw", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except KronosfwError as error:
        message = _say(str(error))
        if "--json" in arguments:
            click.echo(json.dumps({"exit_code": error.exit_code, "error": message}, indent=2))
        return error.exit_code
    except click.ClickException as error:
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
    if os.environ.get("KRONOSFW_DEBUG"):
        from ..secrets import redact

        click.echo(redact("".join(traceback.format_exception(error))), err=True, nl=False)
    else:
        place = traceback.extract_tb(error.__traceback__)[-1]
        _say(
            f"kronosfw failed unexpectedly: {type(error).__name__} in {place.name}, "
            f"{'/'.join(Path(place.filename).parts[-2:])}:{place.lineno}; "
            "set KRONOSFW_DEBUG=1 to see the traceback"
        )
    return KronosfwError.exit_code


def _say(message: str) -> str:
    """Show an error and return it as shown: without secrets."""
    from ..secrets import redact

    shown = redact(message)
    click.echo(f"{click.style('error:', fg='red', bold=True)} {shown}", err=True)
    return shown
