"""``kronosfw schema``."""

from __future__ import annotations

import json

import click


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a configuration file for the plugins installed."""
    from ..loading import model
    from ..plugins import Plugins

    content = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model(Plugins.installed()).model_json_schema(),
    }
    click.echo(json.dumps(content, indent=2))
