"""Adapters part of the way between two, of which the later was trained from the earlier.

On straight lines through the weights, as fine-tuned and original ones are mixed by Wortsman et al., Robust
fine-tuning of zero-shot models (CVPR 2022), and beyond their end, as by Ilharco et al., Editing models with task
arithmetic (ICLR 2023).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile

import torch
from torch import Tensor

from .adapter import ABOUT, LORA_CONFIG, LORA_WEIGHTS, About, check_shape, read_object, read_tensors, save_tensors


def blend(start: Path | None, end: Path, share: float, out: Path) -> None:
    """Write into ``out`` the adapter ``share`` of the way from ``start`` (None for the base) to ``end``.

    At 1 the files are those of ``end`` and at 0 those of ``start``, or for the base an adapter that adds nothing.
    Both factors move; from the base the second alone, so that what they add grows as the share does. Raises
    WeightsError where one was not trained from the other, ValueError for a share that is no number.
    """
    if not math.isfinite(share):
        raise ValueError(f"a share of the way is a finite number, not {share}")
    if start is not None:
        _check_lineage(start, end)
    whole = {0.0: start, 1.0: end}.get(share)
    other = end if whole is None else whole
    for name in (LORA_CONFIG, ABOUT):
        copyfile(other / name, out / name)
    if whole is not None:
        copyfile(whole / LORA_WEIGHTS, out / LORA_WEIGHTS)
        return
    later = read_tensors(end)
    earlier = read_tensors(start) if start is not None else silent(later)
    save_tensors(out, between(earlier, later, share))


@torch.no_grad()
def between(start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return the tensors ``share`` of the way."""
    return {name: torch.lerp(start[name].double(), end[name].double(), share).to(end[name].dtype) for name in end}


def silent(adapter: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an adapter with the same first factors that adds nothing, for its second factors are zero."""
    return {
        name: tensor if name.endswith("lora_A.weight") else torch.zeros_like(tensor)
        for name, tensor in adapter.items()
    }


def _check_lineage(start: Path, end: Path) -> None:
    """Raise WeightsError where one adapter cannot have been trained from the other."""
    now = About.load(end)
    About.load(start).check(start, now.base, now.targets, now.freq)
    check_shape(start, read_object(end / LORA_CONFIG), read_tensors(end))
