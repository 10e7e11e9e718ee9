"""The group of commands: ours, imported when called, and those that plugins add."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

COMMANDS = (
    "init",
    "check",
    "schema",
    "plugins",
    "run",
    "score",
    "report",
    "export",
    "backtest",
    "fit-ensemble",
    "train",
    "retrain",
    "checkpoints",
    "store",
)
"""Each is the attribute ``command`` of the module of that name, with ``_`` for ``-``, in this package."""


class ReaderLeftError(Exception):
    """The reader of our output has left; nothing more can be said to it."""


class KronosfwGroup(click.Group):
    """Imports a command when it is called, and loads plugins only for a command that is not ours."""

    _extended = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._extend()
        return [*COMMANDS, *(name for name in super().list_commands(ctx) if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            command: click.Command = import_module(f".{cmd_name.replace('-', '_')}", __package__).command
            return command
        self._extend()
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. click would turn a broken pipe into exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderLeftError from None

    def _extend(self) -> None:
        """Let plugins add their commands, once."""
        if not self._extended:
            from ..plugins import Plugins

            self._extended = True
            Plugins.installed(checked=False).notify("register_commands", cli=self)
