"""The tokenizer: a causal autoencoder whose bottleneck is a code of s1_bits + s2_bits signs for each candle.

Binary spherical quantisation after Zhao, Xiong and Krähenbühl (arXiv 2406.07548); the split of the code into a
coarse half s1 and a fine half s2 after Shi et al. (Kronos, arXiv 2508.02739).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import Block, rotary_table
from .weights import Pretrained


@dataclass(frozen=True)
class TokenizerConfig:
    """The keys of a tokenizer's ``config.json``."""

    d_in: int
    d_model: int
    n_heads: int
    ff_dim: int
    n_enc_layers: int
    """One more than the blocks that are built: the published files count so."""
    n_dec_layers: int
    s1_bits: int
    s2_bits: int
    beta: float
    """Weight of the commitment loss."""
    gamma0: float
    """Weight of each code's own entropy, to be made small."""
    gamma: float
    """Weight of the entropy of the codes in use, to be made large."""
    zeta: float
    """Weight of the entropy terms."""
    group_size: int
    ffn_dropout_p: float = 0.0
    attn_dropout_p: float = 0.0
    resid_dropout_p: float = 0.0


class KronosTokenizer(Pretrained):
    """Turns normalised candles ``[B, T, 6]`` into token pairs and back."""

    config: TokenizerConfig
    config_class = TokenizerConfig
    rope: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = c = config
        self.bits = c.s1_bits + c.s2_bits
        dropouts = c.ffn_dropout_p, c.attn_dropout_p, c.resid_dropout_p
        self.embed = nn.Linear(c.d_in, c.d_model)
        self.encoder, self.decoder = (
            nn.ModuleList(Block(c.d_model, c.n_heads, c.ff_dim, *dropouts) for _ in range(layers - 1))
            for layers in (c.n_enc_layers, c.n_dec_layers)
        )
        self.quant_embed = nn.Linear(c.d_model, self.bits)
        self.post_quant_embed_pre = nn.Linear(c.s1_bits, c.d_model)
        self.post_quant_embed = nn.Linear(self.bits, c.d_model)
        self.tokenizer = Quantizer(c)
        self.head = nn.Linear(c.d_model, c.d_in)
        self.register_buffer("rope", rotary_table(c.d_model // c.n_heads), persistent=False)

    def latent(self, x: Tensor) -> Tensor:
        """Return a unit vector for each candle, ``[B, T, bits]``, whose signs are its code."""
        x = self.embed(x)
        for block in self.encoder:
            x = block(x, self.rope)
        return F.normalize(self.quant_embed(x), dim=-1)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the token ids s1 and s2 of normalised candles, ``[B, T]`` each."""
        signs = self.latent(x) > 0
        s1, s2 = signs.split([self.config.s1_bits, self.config.s2_bits], dim=-1)
        return to_ids(s1), to_ids(s2)

    def code(self, s1: Tensor, s2: Tensor) -> Tensor:
        """Return the decoder's input for token ids, ``[..., D]``."""
        signs = torch.cat([to_signs(s1, self.config.s1_bits), to_signs(s2, self.config.s2_bits)], dim=-1)
        return self.post_quant_embed(signs.to(self.head.weight.dtype) / math.sqrt(self.bits))

    def decode(self, s1: Tensor, s2: Tensor) -> Tensor:
        """Return the candles ``[B, T, 6]`` that token ids ``[B, T]`` stand for."""
        return self.reconstruct(self.code(s1, s2))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Run the decoder on its input ``[B, T, D]``."""
        for block in self.decoder:
            x = block(x, self.rope)
        return self.head(x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the coarse and the full reconstruction ``[B, T, 6]`` and the quantiser's loss."""
        quantised, loss = self.tokenizer.bsq(self.latent(x))
        coarse = self.post_quant_embed_pre(quantised[..., : self.config.s1_bits])
        return self.reconstruct(coarse), self.reconstruct(self.post_quant_embed(quantised)), loss


class Quantizer(nn.Module):
    """Holds the quantiser under the name that checkpoints give it."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.bsq = BinarySphericalQuantizer(config)


class BinarySphericalQuantizer(nn.Module):
    """Rounds unit vectors to the corners of the hypercube, ±1/√bits, and lets gradients pass straight through."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("basis", 2 ** torch.arange(config.s1_bits + config.s2_bits - 1, -1, -1))
        self.register_buffer("group_basis", 2 ** torch.arange(config.group_size - 1, -1, -1))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the corners ``[B, T, bits]`` nearest to ``z`` and the loss."""
        c, scale = self.config, 1 / math.sqrt(z.shape[-1])
        corner = torch.where(z > 0, scale, -scale)
        commitment = (corner - z).square().sum(-1).mean()
        chance = torch.sigmoid(4 * scale * z)
        usage = chance.flatten(0, -2).mean(0)
        entropies = c.gamma0 * entropy(chance).sum(-1).mean() - c.gamma * entropy(usage).sum()
        return z + (corner - z).detach(), c.beta * commitment + c.zeta * entropies


def entropy(p: Tensor) -> Tensor:
    """Return the entropy of a bit that is 1 with probability p, in nats."""
    q = 1 - p
    return -(p * torch.log(p + 1e-8) + q * torch.log(q + 1e-8))


def to_ids(signs: Tensor) -> Tensor:
    """Return ids ``[...]`` of bits ``[..., bits]``; bit j has weight 2**j."""
    return (signs.long() << torch.arange(signs.shape[-1], device=signs.device)).sum(-1)


def to_signs(ids: Tensor, bits: int) -> Tensor:
    """Return ±1 for each bit of the ids, ``[..., bits]``."""
    return (ids[..., None] >> torch.arange(bits, device=ids.device) & 1) * 2 - 1
