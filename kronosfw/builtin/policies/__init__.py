"""The built-in checkpoint policies: ``latest`` serves what was trained last, ``rolling`` guards what serves."""

from __future__ import annotations

from .options import Cadence, Canary, Guard, Latest, Noninferiority, Rolling, Shrinkage

__all__ = ["Cadence", "Canary", "Guard", "Latest", "Noninferiority", "Rolling", "Shrinkage"]
