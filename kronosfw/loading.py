"""From a configuration file to a validated configuration, in two phases: which plugins, then their options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import secrets, yamlfile
from .calendars import calendar
from .components import model_for
from .config import Config, PluginsSection
from .errors import ConfigError, PluginError
from .mistakes import validate
from .plugins import Plugins


def load(path: Path, plugins: Plugins | None = None) -> tuple[Config, Plugins]:
    """Read a file with the plugins installed, or with those given; raises ConfigError."""
    document = yamlfile.read(path)
    if plugins is None:
        try:
            plugins = Plugins.installed(_disabled(document.data))
        except PluginError as error:
            raise PluginError(f"{document.where(('plugins', 'disable'))}: {error}") from None
    config = validate(model(plugins), document)
    secrets.remember(config)
    for symbol, instrument in config.universe.items():
        try:
            calendar(instrument.market)
        except ConfigError as error:
            raise ConfigError(f"{document.where(('universe', symbol, 'calendar'))}: {error}") from None
    return config, plugins


def _disabled(data: dict[str, Any]) -> tuple[str, ...]:
    """Return the plugins to leave out; a section that is malformed is reported with the rest of the file."""
    try:
        return PluginsSection.model_validate(data.get("plugins") or {}).disable
    except ValueError:
        return ()


def model(plugins: Plugins) -> type[Config]:
    """Return the model of a configuration file for these plugins."""
    return model_for(plugins.components, plugins.explain, plugins.broken)
