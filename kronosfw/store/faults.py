"""What a database said went wrong: whether to try again, and how to tell the user."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, OperationalError

from .address import Address

_TRANSIENT_STATES = ("08", "40001", "40P01", "53300", "57P")
"""SQLSTATEs and classes of them that pass by themselves: connection, conflict, too many clients, restart."""

_TRANSIENT_TEXTS = (
    "starting up",
    "shutting down",
    "recovery mode",
    "too many clients",
    "remaining connection slots",
)


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
    return isinstance(error, OperationalError) and ("connection" in text or "resolve host" in text)


def describe(error: DBAPIError, address: Address) -> str:
    """Return one line that says where and what, without SQL, values or secrets."""
    lines = str(error.orig).strip().splitlines() or ["unknown error"]
    text = lines[0]
    if "database is locked" in text:
        text += "; another process is writing to it, try again later"
    elif "unable to open database file" in text:
        text += "; check that the folder exists and may be written to"
    return f"store {address.shown}: {address.redact(text)}"
