"""Which files a model's name stands for."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from kronosfw.errors import did_you_mean

from .kronos.adapter import ABOUT as ADAPTER
from .kronos.checkpoint import fingerprint
from .kronos.errors import WeightsError
from .kronos.hub import PUBLISHED, locate
from .options import BaseWeights

log = logging.getLogger(__name__)

NANO = "kronos-nano"
NAMES = "max_context", "context", "rotary", "least"
ABOUT = "about.json"
"""Beside ``model`` and ``tokenizer``: ``max_context``, ``context``, ``rotary`` and ``least``, as in Source."""


@dataclass(frozen=True)
class Source:
    """Where model and tokenizer are, and what their files do not say."""

    model: str | Path
    tokenizer: str | Path
    max_context: int = 512
    """Positions the model was trained for."""
    context: int | None = None
    """Bars of context it was trained to be given, where that is less."""
    least: int = 16
    """Fewest bars of context that it can be given."""
    rotary: bool = False
    """Whether generation rotates positions in the layer between s1 and s2."""
    revision: str | None = None
    tokenizer_revision: str | None = None
    freq: str | None = None
    """Length of the bars that an adapter learned from; None for a model of any."""


def source(options: BaseWeights, checkpoint: Path | None = None) -> Source:
    """Return where the weights are: in the checkpoint's folder, those it has, or where the options say.

    Raises WeightsError if no tokenizer is known.
    """
    found = _base(options) if checkpoint is None else _trained(options, checkpoint)
    if options.max_context is not None:
        known = found.context or options.model in PUBLISHED
        if known and options.max_context > found.max_context:
            log.warning("%s was trained for %d positions, fewer than max_context", options.model, found.max_context)
        found = replace(found, max_context=options.max_context)
    if options.rotary_dependency is not None:
        found = replace(found, rotary=options.rotary_dependency)
    return found


def _trained(options: BaseWeights, folder: Path) -> Source:
    """Return the source of a checkpoint, with the base's model or tokenizer where it has none of its own."""
    if (folder / ADAPTER).exists() and not (folder / ABOUT).exists():
        raise WeightsError(f"{folder} lacks {ABOUT}; copy it again")
    found = pair(folder)
    own = {name: (folder / name).is_dir() for name in ("model", "tokenizer")}
    if not any(own.values()) and not (folder / ADAPTER).exists():
        raise WeightsError(f"{folder} holds neither a model nor an adapter")
    if all(own.values()):
        return found
    base = _base(options)
    if not own["model"]:
        found = replace(found, model=base.model, revision=base.revision)
    if not own["tokenizer"]:
        found = replace(found, tokenizer=base.tokenizer, tokenizer_revision=base.tokenizer_revision)
    return found


def _base(options: BaseWeights) -> Source:
    folder = Path(options.model)
    if options.model == NANO:
        found = pair(Path(__file__).parent / "nano")
    elif (folder / "model").is_dir():
        found = pair(folder)
    elif folder.name == "model" and (folder.parent / ABOUT).exists():
        found = pair(folder.parent)
    elif options.model in PUBLISHED and (belongs := PUBLISHED[options.model].tokenizer):
        found = Source(options.model, belongs, PUBLISHED[options.model].max_context)
    elif options.tokenizer is not None:
        found = Source(options.model, options.tokenizer)
    elif snapshots := sorted(folder.glob("step-*")):
        raise WeightsError(f"{folder} holds the snapshots of a training; the newest is {snapshots[-1]}")
    elif not folder.is_dir() and (folder.is_absolute() or "/" not in options.model):
        raise WeightsError(
            f"there is no folder {options.model}, and it is no model that is known"
            f"{did_you_mean(folder.name, (NANO, *PUBLISHED))}"
        )
    else:
        raise WeightsError(f"which tokenizer belongs to {options.model} is not known: name it as `tokenizer`")
    return replace(
        found,
        tokenizer=options.tokenizer or found.tokenizer,
        revision=options.revision,
        tokenizer_revision=options.tokenizer_revision,
    )


def pair(folder: Path) -> Source:
    """Return the source of a folder with ``model`` and ``tokenizer`` in it, as the trainer leaves them."""
    about = folder / ABOUT
    if not about.exists():
        return Source(folder / "model", folder / "tokenizer")
    try:
        known = json.loads(about.read_text("utf-8"))
        most, context, rotary, least = (known.get(name) for name in NAMES)
        freq = known.get("freq")
        if not (isinstance(rotary, bool) and all(isinstance(n, int) and n > 0 for n in (most, context, least))):
            raise ValueError
    except (OSError, ValueError, AttributeError):
        raise WeightsError(f"{about} does not say what it should ({', '.join(NAMES)}); write it anew") from None
    return Source(folder / "model", folder / "tokenizer", most, context, least, rotary, freq=freq)


def fingerprints(found: Source) -> dict[str, str]:
    """Return the fingerprints of the files of ``model`` and ``tokenizer``; raises WeightsError."""
    return {
        "model": fingerprint(locate(found.model, found.revision)),
        "tokenizer": fingerprint(locate(found.tokenizer, found.tokenizer_revision)),
    }
