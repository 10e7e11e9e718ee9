"""The files of a checkpoint, ``config.json`` and ``model.safetensors``: read with suspicion, written whole."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import WeightsError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"

_FLOATS = ("F64", "F32", "F16", "BF16")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_SHOWN = 3


def fingerprint(folder: str | Path) -> str:
    """Return a SHA-256 over both files: what ``sha256sum config.json model.safetensors | sha256sum`` prints.

    Raises WeightsError.
    """
    lines = ""
    for name in (CONFIG, WEIGHTS):
        with _readable(Path(folder) / name), (Path(folder) / name).open("rb") as file:
            lines += f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n"
    return hashlib.sha256(lines.encode()).hexdigest()


def read_values(path: Path) -> dict[str, Any]:
    """Return what a ``config.json`` says; raises WeightsError."""
    with _readable(path):
        text = path.read_bytes()
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise WeightsError(f"{path} is not a JSON object; fetch or copy it again")
    return values


def read_tensors(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a ``model.safetensors``, mapped into memory rather than read.

    Their names and shapes must be those of ``expected``, and where that is a float they must be so too, of any
    width. Raises WeightsError.
    """
    refuse_pickles(path)
    try:
        with _readable(path), safe_open(path, framework="pt") as file:
            stored = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            _compare(path, {name: (s.get_shape(), s.get_dtype()) for name, s in stored.items()}, expected)
            return {name: file.get_tensor(name) for name in expected}
    except SafetensorError as error:
        reason = f"{error}".splitlines()[0]
        raise WeightsError(f"{path} is cut short or damaged ({reason}); fetch or copy it again") from None


def write_checkpoint(folder: Path, values: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write both files; each is whole or is not there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with aside(folder / WEIGHTS) as path:
        save_file(tensors, path, metadata={"format": "pt"})
    with aside(folder / CONFIG) as path:
        path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _compare(path: Path, stored: Mapping[str, tuple[list[int], str]], expected: Mapping[str, Tensor]) -> None:
    problems = []
    if missing := [name for name in expected if name not in stored]:
        problems.append(f"lacks {_some(missing)}")
    if unknown := [name for name in stored if name not in expected]:
        problems.append(f"holds {_some(unknown)}, which the model does not have")
    differing = []
    for name, own in expected.items():
        shape, dtype = stored.get(name, (list(own.shape), "F32"))
        if shape != list(own.shape):
            differing.append(f"{name} is {shape} instead of {list(own.shape)}")
        elif own.is_floating_point() and dtype not in _FLOATS:
            differing.append(f"{name} is stored as {dtype} instead of {' or '.join(_FLOATS)}")
    if differing:
        problems.append(_some(differing))
    if problems:
        config = CONFIG if path.name == WEIGHTS else "configuration"
        raise WeightsError(f"{path} does not fit the {config} beside it: {'; '.join(problems)}")


def _some(items: list[str]) -> str:
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def refuse_pickles(path: Path) -> None:
    """Raise WeightsError where there are no weights, or not in the only format that is safe to load."""
    advice = "only safetensors are loaded: convert the weights with safetensors.torch.save_file"
    if not path.exists():
        pickled = sorted(p.name for p in path.parent.iterdir() if p.suffix in _PICKLED)
        if pickled:
            raise WeightsError(
                f"{path.parent} holds {pickled[0]}, a pickle that may run code, and no {path.name}; {advice}"
            )
        config = CONFIG if path.name == WEIGHTS else "the configuration"
        raise WeightsError(f"there is no {path}; give a folder that holds {config} and {path.name}")
    with _readable(path), path.open("rb") as file:
        start = file.read(32)
    if start.startswith((b"PK\x03\x04", b"\x80")) and not start[8:9] == b"{":
        raise WeightsError(f"{path} is a pickle, which may run code, under another name; {advice}")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a git-lfs pointer, not the file itself; run: git lfs pull")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from None


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Lend a path to write to, whose file then takes the place of ``path``, after it has reached the disk."""
    other = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        yield other
        with other.open("rb+") as file:
            os.fsync(file.fileno())
        other.replace(path)
    finally:
        other.unlink(missing_ok=True)
