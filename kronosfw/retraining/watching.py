"""The canary: what came after a promotion, as far as it is known, and whether the promotion should be taken back.

The scores gathered so far lie beside the versions, so that each look forecasts only what is new.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from ..checkpoints import Pointer, Shelf, verify
from ..errors import DamagedCheckpoint
from ..evaluation import NO_SCORES
from ..examples import Examples
from ..files import write_atomically
from ..interfaces import CheckpointPolicy
from ..reading import as_moment
from ..types import Moment, Moments, Verdict
from .judging import Bench

WATCHED = "watched"
SCORES = "scores.parquet"
log = logging.getLogger(__name__)


def on_trial(shelf: Shelf) -> Pointer | None:
    """Return the promotion that is still to be watched, if any."""
    pointer = shelf.active
    if pointer is None or pointer.event != "promoted":
        return None
    settled = any(e.event == "confirmed" and e.version == pointer.version for e in shelf.history())
    return None if settled else pointer


def heir(shelf: Shelf, promotion: Pointer) -> Path | None:
    """Return the version that a rollback would go to, None where there is none of the class's own."""
    for version in shelf.behind(promotion):
        try:
            verify(shelf.versions / version)
        except (DamagedCheckpoint, OSError) as error:
            log.warning("not compared with: %s", error)
            continue
        return shelf.versions / version
    return None


def watch(
    bench: Bench, policy: CheckpointPolicy, shelf: Shelf, promotion: Pointer, before: Path | None, now: Moment
) -> Verdict | None:
    """Return the policy's verdict on a promotion, None where it has none yet.

    ``before`` are the weights that would serve without it, None for the forecaster's own. Origins since the
    promotion's slot count, as soon as their targets are complete. Raises DamagedCheckpoint where what was promoted
    is damaged: of that the scores tell nothing.
    """
    file = shelf.own(WATCHED) / SCORES
    known = _read(file, promotion.version)
    if verdict := policy.watch(known):
        return verdict
    serving, since = shelf.versions / promotion.version, as_moment(promotion.slot or promotion.at)
    verify(serving, promotion.manifest)
    if since >= now:
        return None
    run = bench.course(since, now)
    new = [(track, ~np.isin(track.cutoffs, _cutoffs(known, track.bars.symbol))) for track in run.tracks]
    examples = Examples(new)
    if not len(examples):
        return None
    frame, _ = bench.scores("canary", {"serving": serving, "previous": before}, examples, run.events)
    whole = frame if known.empty else pd.concat([known, frame], ignore_index=True)
    whole = whole.sort_values(["arm", "as_of", "symbol", "step"], ignore_index=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, whole.assign(version=promotion.version).to_parquet)
    return policy.watch(whole)


def _read(file: Path, version: str) -> pd.DataFrame:
    """Return the scores gathered of a promotion: none where there are none of this one, or they are damaged."""
    try:
        found = pd.read_parquet(file)
        return found[found["version"] == version].drop(columns="version").reset_index(drop=True)
    except FileNotFoundError:
        return NO_SCORES
    except (OSError, ValueError, KeyError) as error:
        log.warning("%s cannot be read and is gathered anew: %s", file, type(error).__name__)
        return NO_SCORES


def _cutoffs(known: pd.DataFrame, symbol: str) -> Moments:
    """Return the origins of a symbol that have been scored."""
    mine = pd.DatetimeIndex(known.loc[known["symbol"] == symbol, "as_of"].unique())
    return mine.to_numpy(dtype="datetime64[us]")
