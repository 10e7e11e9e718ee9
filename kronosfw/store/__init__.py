"""Where results live: a database of runs, predictions and their scores, and a spool for when it is down."""

from .spool import replay, spool
from .store import Store

__all__ = ["Store", "replay", "spool"]
