"""Weights part of the way between two checkpoints, of which the later was trained from the earlier.

On straight lines through the weights, as fine-tuned and original ones are mixed by Wortsman et al., Robust
fine-tuning of zero-shot models (CVPR 2022), and beyond their end, as by Ilharco et al., Editing models with task
arithmetic (ICLR 2023).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..kronos.adapter import ABOUT, EVENTS, LORA_CONFIG, LORA_WEIGHTS, save_tensors
from ..kronos.checkpoint import aside, fingerprint, read_values, refuse_pickles
from ..kronos.errors import WeightsError
from ..kronos.model import Kronos
from ..kronos.tokenizer import KronosTokenizer
from ..kronos.weights import Pretrained

MODULES: Mapping[str, type[Pretrained]] = {"model": Kronos, "tokenizer": KronosTokenizer}
"""What a checkpoint of all weights holds, each in a folder of its own."""
ADDED = LORA_WEIGHTS, EVENTS
"""What is added to a base, which itself has 0 there."""
_STAYS = "lora_A.weight", "tilt.values"
"""Ends of the names of tensors that take no part where others are 0."""
_SCALE = "r", "lora_alpha", "use_rslora"


def blend(start: Path | None, end: Path, share: float, out: Path, base: Mapping[str, Path]) -> None:
    """Write into ``out`` the checkpoint ``share`` of the way from ``start`` (None for the base) to ``end``.

    ``base`` has the folders of ``model`` and ``tokenizer``. At 1 the files are those of ``end``, at 0 those of
    ``start``; the base's are no checkpoint, and 0 then forecasts as it does to the last bit. Beyond 1 it goes on in
    the same direction. Both factors of an adapter move, or from the base the second alone; what ``end`` has and
    ``start`` lacks was 0 there. Raises WeightsError where one was not trained from the other, ValueError for a
    share that is no number, OSError.
    """
    if not math.isfinite(share):
        raise ValueError(f"a share of the way is a finite number, not {share}")
    _check_base(end, base)
    if start is not None:
        _check_base(start, base)
        _check_lineage(start, end)
    out.mkdir(parents=True, exist_ok=True)
    whole = {0.0: start, 1.0: end}.get(share)
    if whole is not None:
        _copy(whole, out)
        return
    for name in filter(lambda name: (end / name).exists(), ADDED):
        earlier = _read(start / name) if start is not None and (start / name).exists() else None
        save_tensors(out / name, between(earlier, _read(end / name), share))
    about = read_values(end / ABOUT) if (end / ABOUT).exists() else None
    for name, module in MODULES.items():
        if (end / name).is_dir():
            _module(module, _folder(name, start, base), end / name, share).save_pretrained(out / name)
            if about is not None:
                about["base"][name] = fingerprint(out / name)
    if (end / LORA_CONFIG).exists():
        copyfile(end / LORA_CONFIG, out / LORA_CONFIG)
    if about is not None:
        with aside(out / ABOUT) as path:
            path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def between(start: Mapping[str, Tensor] | None, end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return the tensors ``share`` of the way; without a start those of an adapter that adds nothing."""
    if start is None:
        start = {name: end[name] if name.endswith(_STAYS) else torch.zeros_like(end[name]) for name in end}
    return {name: torch.lerp(start[name].double(), end[name].double(), share).to(end[name].dtype) for name in end}


def _module(kind: type[Pretrained], start: Path, end: Path, share: float) -> Pretrained:
    """Return a model or tokenizer with its parameters moved; raises WeightsError."""
    earlier, later = (kind.from_pretrained(folder) for folder in (start, end))
    if earlier.config != later.config:
        raise WeightsError(f"{end} is of another size or kind than {start}: one was not trained from the other")
    moved = between(dict(earlier.named_parameters()), dict(later.named_parameters()), share)
    later.load_state_dict(moved, strict=False)
    return later


def _folder(name: str, start: Path | None, base: Mapping[str, Path]) -> Path:
    """Return where the model or tokenizer is that a training began with."""
    return start / name if start is not None and (start / name).is_dir() else base[name]


def _check_base(folder: Path, base: Mapping[str, Path]) -> None:
    """Raise WeightsError where what a checkpoint has no copy of is another than it was trained for."""
    if not (folder / ABOUT).exists():
        return
    trained_for = _about(folder)["base"]
    for name in MODULES:
        if not (folder / name).is_dir() and trained_for.get(name) != fingerprint(base[name]):
            raise WeightsError(f"{folder} was trained for another {name} than {base[name]}")


def _check_lineage(start: Path, end: Path) -> None:
    """Raise WeightsError where one checkpoint cannot have been trained from the other."""
    for name in (*ADDED, *MODULES):
        if (start / name).exists() and not (end / name).exists():
            raise WeightsError(f"{end} was not trained from {start}: it has no {name}")
    if (start / EVENTS).exists() and _about(start)["channels"] != _about(end)["channels"]:
        raise WeightsError(f"{end} was trained with other event channels, or another way to use them, than {start}")
    if (start / LORA_WEIGHTS).exists():
        had, has = ([read_values(f / LORA_CONFIG).get(key) for key in _SCALE] for f in (start, end))
        if had != has:
            raise WeightsError(f"{end} has the rank and alpha {has[:2]}, and {start} has {had[:2]}")
    for name in ADDED:
        if (start / name).exists():
            one, other = ({key: tensor.shape for key, tensor in _read(f / name).items()} for f in (start, end))
            differing = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
            if differing:
                raise WeightsError(f"{end / name} and {start / name} differ in {', '.join(differing[:3])}")


def _about(folder: Path) -> dict[str, Any]:
    about = read_values(folder / ABOUT)
    if not isinstance(about.get("base"), dict) or "channels" not in about:
        raise WeightsError(
            f"{folder / ABOUT} does not say which base and channels the adapter is for; train it anew"
        )
    return about


def _read(path: Path) -> dict[str, Tensor]:
    refuse_pickles(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is cut short or damaged ({error}); copy it again") from None


def _copy(folder: Path, out: Path) -> None:
    """Copy the files of a checkpoint, and nothing else that lies beside them."""
    for name in (*ADDED, LORA_CONFIG, ABOUT):
        if (folder / name).exists():
            copyfile(folder / name, out / name)
    for name in MODULES:
        if (folder / name).is_dir():
            copytree(folder / name, out / name)
