"""What a training adds to a base model: low-rank adapters in peft's format, an event embedding, and what they fit.

A folder holds ``adapter.json``; ``adapter_config.json`` and ``adapter_model.safetensors`` where layers are adapted;
and ``events.safetensors`` where the model is told of events.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import aside, read_tensors, read_values, refuse_pickles
from .errors import WeightsError
from .events import Channels, EventEmbedding
from .model import Kronos
from .stack import Adaptation, LowRank

ABOUT = "adapter.json"
LORA_CONFIG, LORA_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
EVENTS = "events.safetensors"
PACKED: Mapping[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.out_proj",),
    "gates": ("ffn.w1", "ffn.w3"),
    "down": ("ffn.w2",),
}
"""The linear layers of a block, as they are packed for generation."""
_NAME = re.compile(r"base_model\.model\.transformer\.(\d{1,4})\.([a-z_]+\.\w+)\.lora_(A|B)\.weight")
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "lora_bias": (False, None),
    "use_qalora": (False, None),
    "use_bdlora": (False, None),
    "alora_invocation_tokens": (None,),
    "layer_replication": (None,),
    "init_lora_weights": ("gaussian", "orthogonal", "eva", False, True),
}
"""What an ``adapter_config.json`` may say; other kinds of adapters compute something else, or change the base."""


@dataclass(frozen=True)
class Adapter:
    """What is added to a base model."""

    events: EventEmbedding | None
    layers: list[Adaptation] | None
    """For each transformer block."""

    @property
    def channels(self) -> Channels | None:
        """The event channels it wants, if any."""
        return self.events.channels if self.events is not None else None

    def to(self, device: torch.device, dtype: torch.dtype) -> Adapter:
        """Return the adapter on a device."""
        layers = self.layers and [
            {name: LowRank(a.down.to(device, dtype), a.up.to(device, dtype)) for name, a in layer.items()}
            for layer in self.layers
        ]
        return Adapter(self.events and deepcopy(self.events).to(device, dtype), layers)


def load_adapter(folder: Path, model: Kronos, base: Mapping[str, str]) -> Adapter:
    """Return the adapter in a folder; raises WeightsError, also where it was trained for another base.

    ``base`` has the fingerprints of the ``model`` and the ``tokenizer`` that it is to be added to.
    """
    path = folder / ABOUT
    about = read_values(path)
    trained_for = about.get("base")
    if not isinstance(trained_for, dict):
        raise WeightsError(f"{path} does not say which base the adapter belongs to; train it anew")
    for name, own in base.items():
        if trained_for.get(name) != own:
            raise WeightsError(
                f"{folder} was trained for another {name}: one with the fingerprint "
                f"{_short(trained_for.get(name))}, and this has {_short(own)}"
            )
    width = about.get("d_model")
    if width != model.config.d_model:
        raise WeightsError(
            f"{folder} was trained for a model of width {width}, and this has {model.config.d_model}"
        )
    return Adapter(
        events=_read_events(folder, about, model),
        layers=_read_low_rank(folder, model) if about.get("lora", True) else None,
    )


def save_about(folder: Path, base: Mapping[str, str], model: Kronos, events: EventEmbedding | None) -> None:
    """Write ``adapter.json``; raises OSError."""
    about: dict[str, Any] = {
        "base": dict(base),
        "d_model": model.config.d_model,
        "lora": (folder / LORA_CONFIG).exists(),
        "channels": None,
    }
    if events is not None:
        about["channels"] = asdict(events.channels)
    with aside(folder / ABOUT) as path:
        path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, whole or not at all; raises OSError."""
    from safetensors.torch import save_file

    with aside(path) as other:
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
        save_file(plain, other, metadata={"format": "pt"})


def _read_events(folder: Path, about: Mapping[str, Any], model: Kronos) -> EventEmbedding | None:
    said = about.get("channels")
    if said is None:
        return None
    try:
        channels = Channels(
            names=tuple(map(str, said["names"])),
            known_ahead=tuple(map(bool, said["known_ahead"])),
            marks=tuple(said["marks"]),
            announces=tuple(said["announces"]),
            output=int(said["output"]),
            gate=None if said["gate"] is None else int(said["gate"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{folder / ABOUT} does not say which channels it wants ({error}); train it anew"
        ) from None
    embedding = EventEmbedding(channels, model.config.d_model, 2**model.config.s1_bits)
    tensors = read_tensors(folder / EVENTS, embedding.state_dict())
    embedding.load_state_dict({name: _finite(folder / EVENTS, name, t.float()) for name, t in tensors.items()})
    return embedding.requires_grad_(False).eval()


def _read_low_rank(folder: Path, model: Kronos) -> list[Adaptation]:
    """Return the adapters of each block, packed as its weights are."""
    config = read_values(folder / LORA_CONFIG)
    for key, allowed in _PLAIN.items():
        if config.get(key, allowed[-1]) not in allowed:
            raise WeightsError(f"{folder / LORA_CONFIG}: {key} = {config[key]!r} is not supported here")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not (isinstance(rank, int) and isinstance(alpha, int | float) and 0 < rank <= 4096 and math.isfinite(alpha)):
        raise WeightsError(f"{folder / LORA_CONFIG} does not say r and lora_alpha as numbers")
    scale = alpha / rank**0.5 if config.get("use_rslora") else alpha / rank
    parts = _parts(folder / LORA_WEIGHTS, model, rank)
    return [
        {
            packed: _pack([(linear(model, i, name).out_features, parts.get((i, name))) for name in names], scale)
            for packed, names in PACKED.items()
            if any((i, name) in parts for name in names)
        }
        for i in range(model.config.n_layers)
    ]


def _parts(path: Path, model: Kronos, rank: int) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
    """Return A and B of every adapted layer by block and name."""
    from safetensors import SafetensorError, safe_open

    refuse_pickles(path)
    try:
        with safe_open(path, framework="pt") as file:
            stored = list(file.keys())
    except SafetensorError as error:
        raise WeightsError(f"{path} is cut short or damaged ({error}); copy it again") from None
    matches = [_NAME.fullmatch(name) for name in stored]
    unknown = [name for name, match in zip(stored, matches, strict=True) if match is None]
    wanted = sorted({(int(m[1]), m[2]) for m in matches if m})
    known = {name for names in PACKED.values() for name in names}
    unknown += [f"transformer.{i}.{name}" for i, name in wanted if i >= model.config.n_layers or name not in known]
    if unknown or not wanted:
        raise WeightsError(f"{path} adapts {', '.join(unknown[:3]) or 'nothing'}, which this model does not have")
    expected = {}
    for i, name in wanted:
        layer = linear(model, i, name)
        prefix = f"base_model.model.transformer.{i}.{name}.lora"
        expected[f"{prefix}_A.weight"] = torch.empty(rank, layer.in_features)
        expected[f"{prefix}_B.weight"] = torch.empty(layer.out_features, rank)
    found = {name: _finite(path, name, t.float()) for name, t in read_tensors(path, expected).items()}
    pairs = [iter(found.values())] * 2
    return dict(zip(wanted, zip(*pairs, strict=True), strict=True))


def linear(model: Kronos, block: int, name: str) -> nn.Linear:
    """Return a linear layer of a block by its name in the checkpoint."""
    found = model.get_submodule(f"transformer.{block}.{name}")
    assert isinstance(found, nn.Linear)
    return found


def _pack(parts: list[tuple[int, tuple[Tensor, Tensor] | None]], scale: float) -> LowRank:
    """Return adapters of layers that are packed into one, each with its number of outputs."""
    down = torch.cat([pair[0] for _, pair in parts if pair is not None])
    up = torch.zeros(sum(size for size, _ in parts), len(down))
    row = column = 0
    for size, pair in parts:
        if pair is not None:
            rank = len(pair[0])
            up[row : row + size, column : column + rank] = pair[1] * scale
            column += rank
        row += size
    return LowRank(down, up)


def _finite(path: Path, name: str, tensor: Tensor) -> Tensor:
    if not tensor.isfinite().all():
        raise WeightsError(f"{path}: {name} has values that are not finite; train it anew")
    return tensor


def _short(fingerprint: object) -> str:
    return f"{fingerprint}"[:12]
