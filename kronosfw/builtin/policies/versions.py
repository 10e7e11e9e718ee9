"""Which versions to let go of."""

from __future__ import annotations

from collections.abc import Sequence

from ...types import Checkpoint


def expired(checkpoints: Sequence[Checkpoint], keep: int) -> list[Checkpoint]:
    """Return all but the last ``keep`` of each asset class, and the last ``keep`` that may serve.

    None that is active or pooled is among them.
    """
    gone = []
    for name in sorted({c.asset_class for c in checkpoints if c.asset_class is not None}):
        own = sorted((c for c in checkpoints if c.asset_class == name), key=lambda c: c.version)
        kept = [*own[-keep:], *[c for c in own if c.state == "ready"][-keep:]]
        gone += [c for c in own if c not in kept and not c.active]
    return gone
