"""Every error that kronosfw raises on purpose, and the exit code each ends with.

::

    KronosfwError                1   (raised as such only for our own mistakes)
     ├── ConfigError             2   usage or configuration
     │    └── PluginError        2   a plugin the configuration names cannot be used
     ├── CheckpointRejected      4   the regression guard said no
     ├── DataError               5   data failed its checks, or too few symbols are left
     │    ├── FeedDown           5   a source that cannot be reached: no symbol will do better
     │    ├── DamagedCheckpoint  5   weights on disk are not what their manifest says
     │    └── SymbolError        –   one symbol's data; the others go on
     ├── StoreError              6   the store stayed down
     │    └── DamagedState       –   what a model had learned is not what was stored; it learns anew
     └── Interrupted            75   drained on a signal, or another holder has the lock

Exit code 0 is success and 3 means done, but for some symbols or models.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

DONE = 0
PARTIAL = 3


class KronosfwError(Exception):
    """Base of all errors with a message meant for the user."""

    exit_code = 1


class ConfigError(KronosfwError):
    """The command line or the configuration is wrong."""

    exit_code = 2


class PluginError(ConfigError):
    """A plugin that the configuration names is missing, broken or ambiguous."""


class CheckpointRejected(KronosfwError):
    """A candidate checkpoint did not pass the regression guard."""

    exit_code = 4


class DataError(KronosfwError):
    """The data cannot be used, or too few symbols are left."""

    exit_code = 5


class FeedDown(DataError):
    """A source cannot be reached at present, whichever symbol is asked for."""


class DamagedCheckpoint(DataError):
    """The weights on disk are not what their manifest says."""


class SymbolError(DataError):
    """One symbol's data cannot be used."""


class StoreError(KronosfwError):
    """The store cannot be used or stayed down."""

    exit_code = 6


class DamagedState(StoreError):
    """What a model had learned is not what was stored."""


class Interrupted(KronosfwError):
    """Stopped on request before the end; running again finishes the work."""

    exit_code = 75


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean '…'?`` with the closest known name, or nothing if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
