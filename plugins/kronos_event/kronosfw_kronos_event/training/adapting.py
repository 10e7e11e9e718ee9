"""Teaching a base model about events: what is trained, and on which loss."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..kronos.adapter import EVENTS, LORA_CONFIG, LORA_WEIGHTS, save_tensors
from ..kronos.checkpoint import aside, read_tensors
from ..kronos.events import EventEmbedding, gate
from ..kronos.model import Kronos

NAME = "default"
"""How peft calls an adapter unless told otherwise."""


@dataclass(frozen=True)
class LoraOptions:
    """Low-rank adapters: their size and where they are (Hu et al., 2021)."""

    rank: int
    alpha: float
    dropout: float
    targets: Sequence[str]
    """Names of linear layers of the transformer blocks, such as ``q_proj``."""


class Adaptable(nn.Module):
    """A base model, frozen, with low-rank adapters and an event embedding to be trained.

    Without ``lora`` the base itself is trained. Where the channels have a gate, the adapters are shut with it.
    """

    def __init__(self, model: Kronos, events: EventEmbedding | None, lora: LoraOptions | None) -> None:
        super().__init__()
        self.model, self.events = model, events
        self.lora: Any = None
        if lora is not None:
            model.requires_grad_(False)
            self.lora = self._adapt(lora)
        self._gate: Tensor | None = None

    def train(self, mode: bool = True) -> Adaptable:
        """Switch modes. What is frozen stays in evaluation mode: only the adapters' own dropout is live."""
        super().train(mode)
        if self.lora is not None:
            self.model.eval()
            for name, module in self.model.named_modules():
                if "lora_" in name:
                    module.train(mode)
        return self

    def hidden(self, s1: Tensor, s2: Tensor, stamps: Tensor, events: Tensor | None) -> Tensor:
        """Return normed hidden states ``[B, T, D]``; ``events [B, T, I]`` are what the channels give it."""
        self._gate = None if events is None else gate(events, torch.float32)
        added = None if events is None or self.events is None else self.events(events)
        return self.model.hidden(s1, s2, stamps, added)

    def save(self, folder: Path) -> None:
        """Write the adapters as peft does and the event embedding, those that there are; raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.events is not None:
            save_tensors(folder / EVENTS, self.events.state_dict())
        if self.lora is not None:
            from peft import get_peft_model_state_dict

            save_tensors(folder / LORA_WEIGHTS, get_peft_model_state_dict(self.lora))
            config = self.lora.peft_config[NAME]
            config.inference_mode = True
            with aside(folder / LORA_CONFIG) as path:
                path.write_text(_json(config.to_dict()), encoding="utf-8")
            config.inference_mode = False

    def load(self, folder: Path) -> None:
        """Go on from what ``save`` left; raises WeightsError where it does not fit."""
        if self.events is not None:
            self.events.load_state_dict(read_tensors(folder / EVENTS, self.events.state_dict()))
        if self.lora is not None:
            from peft import get_peft_model_state_dict, set_peft_model_state_dict

            expected = get_peft_model_state_dict(self.lora)
            set_peft_model_state_dict(self.lora, read_tensors(folder / LORA_WEIGHTS, expected))

    def _adapt(self, options: LoraOptions) -> Any:
        from peft import LoraConfig, get_peft_model

        names = "|".join(map(re.escape, options.targets))
        config = LoraConfig(
            r=options.rank,
            lora_alpha=options.alpha,  # type: ignore[arg-type]
            lora_dropout=options.dropout,
            target_modules=rf"transformer\.\d+\.\w+\.({names})",
            bias="none",
        )
        adapted = get_peft_model(self.model, config)
        for name, module in self.model.named_modules():
            if name.endswith(f"lora_A.{NAME}"):
                module.register_forward_hook(self._gated)
        return adapted

    def _gated(self, module: nn.Module, given: Any, found: Tensor) -> Tensor:
        return found if self._gate is None else found * self._gate.to(found.dtype)


class AdaptingObjective(nn.Module):
    """Mean of the cross-entropies of s1 and of s2 given the true s1, over the bars after each window's prefix.

    ``event`` and ``quiet`` are the loss on bars with an event and on the others, sums with counts.
    """

    def __init__(self, adaptable: Adaptable) -> None:
        super().__init__()
        self.adaptable = adaptable

    def forward(
        self, tokens: Tensor, stamps: Tensor, prefix: Tensor, marked: Tensor, events: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the loss and its parts for the arrays of a batch of Samples."""
        model, embedding = self.adaptable.model, self.adaptable.events
        s1, s2 = tokens.long().unbind(-1)
        before = None if events is None else events[:, :-1]
        hidden = self.adaptable.hidden(s1[:, :-1], s2[:, :-1], stamps[:, :-1], before)
        bars = torch.arange(1, s1.shape[1], device=s1.device)
        after = bars >= prefix[:, None]
        s1_logits = model.s1_logits(hidden[after])
        if events is not None and embedding is not None and embedding.tilt is not None:
            s1_logits = s1_logits + embedding.logits(events[:, 1:][after])
        s2_logits = model.head.proj_s2(model.depend(hidden, s1[:, 1:])[after])
        first = F.cross_entropy(s1_logits.float(), s1[:, 1:][after], reduction="none")
        second = F.cross_entropy(s2_logits.float(), s2[:, 1:][after], reduction="none")
        loss, on_event = (first + second) / 2, marked[:, 1:][after]
        return {
            "loss": _pair(loss),
            "s1": _pair(first),
            "s2": _pair(second),
            "event": _pair(loss[on_event]),
            "quiet": _pair(loss[~on_event]),
        }


def _pair(losses: Tensor) -> Tensor:
    return torch.stack([losses.sum(), losses.new_tensor(float(len(losses)))])


def _json(config: dict[str, Any]) -> str:
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    return json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n"
