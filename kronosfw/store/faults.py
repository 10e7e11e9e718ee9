"""What a database said went wrong: whether to try again, and how to tell the user."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, OperationalError

from .address import Address

_TRANSIENT_STATES = ("08", "40001", "40P01", "53300", "55P03", "57P")
"""SQLSTATEs and classes of them that pass by themselves: connection, conflict, too many clients, lock, restart."""

_TRANSIENT_TEXTS = (
    "starting up",
    "shutting down",
    "recovery mode",
    "accepting connections",
    "too many clients",
    "remaining connection slots",
    "no more connections allowed",
    "server login has been failing",
)
"""Of refused connections, which have no SQLSTATE; the last two are PgBouncer's."""

_LASTING_TEXTS = ("does not support SSL", "certificate")
"""Of connections that are refused for as long as the server, or the URL, stays as it is."""

_HINTS = {
    "lock timeout": "another session holds a lock on the rows or tables",
    "database is locked": "another process is writing to it, try again later",
    "unable to open database file": "check that the folder exists and may be written to",
    "disk is full": "make room on it, then try again",
    "No space left on device": "make room on it, then try again",
}


def is_transient(error: DBAPIError) -> bool:
    """Tell whether the same work may succeed a little later."""
    state = getattr(error.orig, "sqlstate", None)
    text = str(error.orig)
    if error.connection_invalidated or "database is locked" in text:
        return True
    if state is not None:
        return str(state).startswith(_TRANSIENT_STATES)
    if "FATAL:" in text:
        return any(part in text for part in _TRANSIENT_TEXTS)
    if not isinstance(error, OperationalError) or any(part in text for part in _LASTING_TEXTS):
        return False
    return "connection" in text or "resolve host" in text


def describe(error: DBAPIError, address: Address) -> str:
    """Return one line that says where and what, without SQL, values or secrets."""
    lines = str(error.orig).strip().splitlines() or ["unknown error"]
    text = lines[0]
    text += next((f"; {hint}" for said, hint in _HINTS.items() if said in text), "")
    return f"store {address.shown}: {address.redact(text)}"
