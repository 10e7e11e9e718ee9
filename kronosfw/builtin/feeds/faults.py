"""The one error that the readers raise among themselves."""

from __future__ import annotations


class Fault(ValueError):
    """What is wrong with a source, and in which row (counted from 0) where one can be named.

    Whoever knows the file turns it into an error for the user.
    """

    def __init__(self, text: str, row: int | None = None) -> None:
        super().__init__(text)
        self.row = row


def shown(value: object) -> str:
    """Return a value as a message quotes it: one line, bounded."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…{text[-1]}"
