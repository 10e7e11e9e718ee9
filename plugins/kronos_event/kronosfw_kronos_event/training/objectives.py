"""What is made small: the losses of the tokenizer and of the model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..kronos.candles import CLOSE, PRICES
from ..kronos.model import Kronos, cross_entropies
from ..kronos.tokenizer import KronosTokenizer

LEAST_MOVE = 0.02
"""Floor under a window's mean move, in standard deviations of its prefix, so that halts do not dominate."""


class TokenizerObjective(nn.Module):
    """Mean of the squared errors of both reconstructions and the quantiser's loss, as the Kronos paper has it.

    A z-score over many bars makes one bar's move a small part of the whole, and a squared error lets the tokenizer
    be careless about it, though the move is what a forecast is about. With ``fine`` the errors of the prices are
    counted a second time in units of the window's mean move, robustly.
    """

    def __init__(self, tokenizer: KronosTokenizer, fine: float) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.fine = fine

    def forward(self, candles: Tensor, stamps: Tensor, prefix: Tensor) -> dict[str, Tensor]:
        """Return the loss and its parts for candles ``[B, T, 6]``."""
        coarse, full, quantiser = self.tokenizer(candles)
        coarse, full, quantiser = coarse.float(), full.float(), quantiser.float()
        coarse_error, full_error = F.mse_loss(coarse, candles), F.mse_loss(full, candles)
        loss = (coarse_error + full_error + quantiser) / 2
        move = candles[..., CLOSE].diff(dim=1).abs().mean(1).clamp_min(LEAST_MOVE)[:, None, None]
        target = candles[..., PRICES] / move
        fine_coarse, fine_full = (F.smooth_l1_loss(x[..., PRICES] / move, target) for x in (coarse, full))
        return {
            "loss": loss + self.fine * (fine_coarse + 2 * fine_full),
            "coarse": coarse_error,
            "full": full_error,
            "quantiser": quantiser,
            "fine_coarse": fine_coarse,
            "fine_full": fine_full,
        }


class ModelObjective(nn.Module):
    """Mean of the cross-entropies of s1 and of s2 given the true s1, over the bars after each window's prefix."""

    def __init__(self, model: Kronos, tokenizer: KronosTokenizer) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer.requires_grad_(False)

    def train(self, mode: bool = True) -> ModelObjective:
        """Switch the model; the tokenizer is frozen and stays in evaluation mode."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, candles: Tensor, stamps: Tensor, prefix: Tensor) -> dict[str, Tensor]:
        """Return the loss and its parts for candles ``[B, T, 6]`` and stamps ``[B, T, 5]``."""
        with torch.no_grad(), torch.autocast(candles.device.type, enabled=False):
            s1, s2 = self.tokenizer.encode(candles)
        after = torch.arange(1, candles.shape[1], device=candles.device) >= prefix[:, None]
        hidden = self.model.hidden(s1[:, :-1], s2[:, :-1], stamps[:, :-1])
        s1_logits = self.model.s1_logits(hidden[after])
        s2_logits = self.model.head.proj_s2(self.model.depend(hidden, s1[:, 1:])[after])
        first, second = cross_entropies(s1_logits, s2_logits, s1[:, 1:][after], s2[:, 1:][after])
        return {"loss": (first + second) / 2, "s1": first, "s2": second}
