"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..config import Config

Function = TypeVar("Function", bound=Callable[..., Any])


class AsOf(click.ParamType[Any]):
    """``latest``, ``now``, or an ISO date or moment; UTC unless it says otherwise."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from ..options import as_of

        try:
            return as_of(value)
        except ValueError as error:
            self.fail(f"{error}, not '{value}'")


class Symbols(click.ParamType[Any]):
    """Names separated by commas."""

    name = "A,B,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        symbols = value if isinstance(value, tuple) else tuple(s.strip() for s in value.split(",") if s.strip())
        if not symbols:
            self.fail("name at least one symbol, such as SPY,QQQ")
        return symbols


def config_file(function: Function) -> Function:
    """Add the argument FILE."""
    return click.argument("file", type=click.Path(path_type=Path, dir_okay=False))(function)


def store_url(function: Function) -> Function:
    """Add the option ``--store``."""
    return click.option("--store", metavar="URL", help="Store results there instead.")(function)


def json_output(function: Function) -> Function:
    """Add the option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(function)


def with_store(config: Config, url: str | None) -> Config:
    """Return the configuration with another store; raises ConfigError if the URL is none."""
    if url is None:
        return config
    from pydantic import TypeAdapter, ValidationError

    from ..errors import ConfigError
    from ..options import DatabaseUrl
    from ..secrets import remember

    try:
        config = config.model_copy(update={"store": TypeAdapter(DatabaseUrl).validate_python(url)})
    except ValidationError:
        raise ConfigError(
            "--store: expected a SQLAlchemy URL such as sqlite:///kronosfw.db or postgresql://host/database"
        ) from None
    remember(config)
    return config
