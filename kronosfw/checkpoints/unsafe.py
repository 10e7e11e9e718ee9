"""Files that may run code when they are loaded: none is published, none is served."""

from __future__ import annotations

import re
from pathlib import PurePath

_SUFFIXES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npz"}
_OBJECTS = re.compile(rb"""['"][|<>=]?O\d?['"]""")
SEEN = 4096
"""Bytes of a file's beginning that tell."""


def unsafe(name: str, start: bytes) -> str:
    """Return what is unsafe about a file of this name that begins with these bytes; nothing where it is safe.

    A pickle of protocol 0 or 1 has no mark of its own, and is known by its name alone.
    """
    if PurePath(name).suffix.lower() in _SUFFIXES:
        return "a kind of file that may hold a pickle, which runs code when it is loaded"
    # The first eight bytes of a safetensors file are a length and may be any.
    is_tensors = PurePath(name).suffix == ".safetensors" and start[8:9] == b"{"
    if not is_tensors and re.match(rb"PK\x03\x04|\x80[\x02-\x05]", start):
        return "a pickle or an archive under another name, which may run code when it is loaded"
    if start.startswith(b"\x93NUMPY") and _OBJECTS.search(start):
        return "an array of Python objects, which is a pickle"
    return ""
