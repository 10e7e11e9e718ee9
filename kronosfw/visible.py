"""Text from data as a terminal may be given it."""

from __future__ import annotations

import re

_ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys instead of showing it, what turns the direction of text, and what is no character."""


def visible(text: str) -> str:
    """Return the text with what would act on a terminal written out, such as ``\\x1b``; tabs and line ends stay."""
    return _ACTS.sub(lambda found: ascii(found[0])[1:-1], text)
