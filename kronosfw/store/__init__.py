"""Where results live: a database of runs, predictions and their scores, and a spool for when it is down."""

from .spool import replay, spool
from .store import Store
from .tables import KEY

__all__ = ["KEY", "Store", "replay", "spool"]
