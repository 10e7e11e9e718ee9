"""Where results live: a database of runs, predictions and their scores, and a spool for when it is down."""

from .spool import lacking, replay, spool
from .store import REHEARSED, Store, learned_row, scored_frame
from .tables import KEY, Row

__all__ = ["KEY", "REHEARSED", "Row", "Store", "lacking", "learned_row", "replay", "scored_frame", "spool"]
