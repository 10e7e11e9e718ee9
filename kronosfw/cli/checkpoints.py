"""``kronosfw checkpoints``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import config_file, json_output

if TYPE_CHECKING:
    from ..inventory import Inventory


@click.group("checkpoints")
def command() -> None:
    """See which trained weights there are and which serve; activate, roll back, verify and delete them.

    VERSION is such as crypto/2026-11-01-0001-0f2d765d903a or base/2026-…, or a part of its name that no other has.
    """


home = click.option(
    "--class", "name", metavar="NAME", help="Of this asset class alone; `base` for the pooled ones."
)
why = click.option("--reason", default="by hand", metavar="TEXT", help="What the history says of it.")
version_name = click.argument("version", metavar="VERSION")


@command.command("list")
@config_file
@home
@json_output
def list_(file: Path, name: str | None, as_json: bool) -> None:
    """List the checkpoints and what they serve.

    Of each: its state, the asset classes it serves, until when it learned, its validation loss and its size.
    """
    from .. import report_checkpoints as report

    inventory = _inventory(file)
    items = inventory.items(name)
    if as_json:
        _echo([report.item_as_json(item) for item in items])
    else:
        report.print_items(items, inventory.root)


@command.command()
@config_file
@version_name
@json_output
def show(file: Path, version: str, as_json: bool) -> None:
    """Show one: where it comes from, the verdict on it, its history."""
    from .. import report_checkpoints as report
    from ..checkpoints import about, manifest_of

    inventory = _inventory(file)
    shelf, found = inventory.find(version)
    manifest = manifest_of(shelf.versions / found)
    item = next((i for i in inventory.items(shelf.name) if i.checkpoint.version == found), None)
    if item is None:
        from ..errors import DamagedCheckpoint

        raise DamagedCheckpoint(f"checkpoint {shelf.name}/{found} cannot be read; -v tells why")
    history = about(found, shelf.history())
    if as_json:
        _echo(report.checkpoint_as_json(item, manifest, history))
    else:
        report.print_checkpoint(item, manifest, history)


@command.command()
@config_file
@home
@json_output
def history(file: Path, name: str | None, as_json: bool) -> None:
    """Tell what was active when and why, and what became of each retraining."""
    from .. import report_checkpoints as report

    entries = {shelf.name: shelf.history() for shelf in _inventory(file).shelves(name)}
    if as_json:
        _echo({name: [report.entry_as_json(entry) for entry in each] for name, each in entries.items()})
    else:
        report.print_history(entries)


@command.command()
@config_file
@click.argument("versions", metavar="[VERSION]…", nargs=-1)
@json_output
def verify(file: Path, versions: tuple[str, ...], as_json: bool) -> int:
    """Read checkpoints whole and name what is damaged.

    Every file is compared with what the manifest says of it; of all checkpoints, unless some are named.

    Exit codes: 0 all are sound; 2 usage or configuration; 5 one is damaged.
    """
    from .. import report_checkpoints as report
    from ..errors import DONE, DamagedCheckpoint

    inventory = _inventory(file)
    results = inventory.verified([inventory.find(version) for version in versions] or None)
    if as_json:
        _echo([{"version": title, "damage": damage or None} for title, damage in results])
    else:
        report.print_verified(results, inventory.root)
    return DamagedCheckpoint.exit_code if any(damage for _, damage in results) else DONE


@command.command()
@config_file
@version_name
@why
@click.option("--force", is_flag=True, help="Also one that was rejected, or not judged.")
@json_output
def activate(file: Path, version: str, reason: str, force: bool, as_json: bool) -> None:
    """Make a checkpoint the one that serves, having read it whole."""
    inventory = _inventory(file)
    shelf, found = inventory.find(version)
    chosen = next((c for c in shelf.checkpoints() if c.version == found), None)
    if chosen is not None:  # one that cannot be read is refused with its reason
        inventory.require_effect(shelf, found, chosen.forecaster)
    with inventory.changing():
        before = shelf.active
        pointer = shelf.promote(
            found,
            event="activated",
            at=datetime.now(UTC),
            reason=reason,
            expected=before.seq if before else 0,
            force=force,
        )
    _tell_active(shelf.name, pointer.version, pointer.previous, as_json)


@command.command()
@config_file
@click.option("--class", "name", metavar="NAME", required=True, help="The asset class; `base` for the pooled ones.")
@why
@json_output
def rollback(file: Path, name: str, reason: str, as_json: bool) -> None:
    """Go back to what was active before; what is damaged is skipped."""
    inventory = _inventory(file)
    (shelf,) = inventory.shelves(name)
    with inventory.changing():
        before = shelf.active
        if before is not None and before.version:
            inventory.require_effect(shelf, next(iter(shelf.behind(before)), ""), before.forecaster)
        pointer = shelf.rollback(at=datetime.now(UTC), reason=reason, expected=before.seq if before else 0)
    _tell_active(shelf.name, pointer.version, pointer.previous, as_json)


@command.command()
@config_file
@home
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
@json_output
def prune(file: Path, name: str | None, dry_run: bool, as_json: bool) -> None:
    """Delete the checkpoints that the policy keeps no longer.

    What is active, what was so before and the pooled ones stay.
    """
    inventory = _inventory(file)
    deleted: list[str] = []
    with inventory.changing():
        for shelf in inventory.shelves(name):
            if shelf.asset_class is not None:
                expired = inventory.expired(shelf)
                gone = shelf.prunable(expired) if dry_run else shelf.prune(expired)
                deleted += [f"{shelf.name}/{version}" for version in gone]
    if as_json:
        _echo({"deleted": deleted, "dry_run": dry_run})
    else:
        what = "would be deleted" if dry_run else "was deleted"
        click.echo("\n".join(f"{title} {what}" for title in deleted) or "There is nothing to delete.")


def _inventory(file: Path) -> Inventory:
    from ..inventory import Inventory
    from ..loading import load

    return Inventory(load(file)[0])


def _tell_active(name: str, version: str, previous: str, as_json: bool) -> None:
    if as_json:
        _echo({"class": name, "active": version or None, "previous": previous or None})
        return
    if not version:
        serves = "the models' own weights serve" if name == "base" else "what is pooled serves"
        click.echo(f"Nothing of {name} is active now: {serves}.")
        return
    after = f"to {name}/{previous}" if previous else "to none of its own"
    click.echo(f"{name}/{version} is active now; a rollback would go back {after}.")


def _echo(content: Any) -> None:
    click.echo(json.dumps(content, indent=2))
