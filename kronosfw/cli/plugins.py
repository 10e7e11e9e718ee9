"""``kronosfw plugins``."""

from __future__ import annotations

import json
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from .options import json_output

if TYPE_CHECKING:
    from ..interfaces import Component
    from ..plugins import Plugin


@click.command("plugins")
@json_output
def command(as_json: bool) -> None:
    """List the plugins installed, what each provides, and why one cannot be used."""
    from ..plugins import HOOKS, Plugins

    plugins = Plugins.installed()
    conflicts = [
        f"{kind.replace('_', ' ')} '{name}' is registered by {' and '.join(p.title for p in owners)}: "
        "put one of them into `plugins: {disable: […]}`"
        for kind, name, owners in plugins.conflicts()
    ]
    if as_json:
        click.echo(json.dumps({"plugins": [_plain(p) for p in plugins.all], "conflicts": conflicts}, indent=2))
        return
    width = min(get_terminal_size().columns, 116)
    for plugin in plugins.all:
        state = click.style("cannot be used", fg="red") if plugin.problem else click.style("ok", fg="green")
        click.echo(f"{click.style(plugin.name, bold=True)}  {plugin.title} {plugin.version}  {state}")
        if plugin.problem:
            click.echo(f"  {plugin.problem}")
        for kind, classes in plugin.components.items():
            click.echo(f"  {HOOKS[kind].removeprefix('register_').replace('_', ' ')}")
            for cls in classes:
                first, rest = f"    {_name(cls):<16} ", " " * 21
                text = f"{_summary(cls)}{_weights(cls)}"
                click.echo(click.wrap_text(text, width, initial_indent=first, subsequent_indent=rest))
    for conflict in conflicts:
        click.echo(f"{click.style('conflict', fg='red')}  {conflict}")


def _plain(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "problem": plugin.problem or None,
        "components": {kind: [_name(cls) for cls in classes] for kind, classes in plugin.components.items()},
    }


def _name(cls: type[Component]) -> str:
    from ..interfaces import type_name

    return type_name(cls)


def _summary(cls: type[Component]) -> str:
    return (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


def _weights(cls: type[Component]) -> str:
    """Return licence and training cut-off of a model's weights."""
    weights = getattr(cls, "weights", None)
    if weights is None:
        return ""
    limits = ((weights.max_context, "bars of context"), (weights.max_horizon, "bars ahead"))
    told = [weights.terms]
    told += [f"at most {limit:,} {of}" for limit, of in limits if limit is not None]
    return f" [weights: {', '.join(told)}]"
