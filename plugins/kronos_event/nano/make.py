"""Makes kronos-nano: python plugins/kronos_event/nano/make.py FOLDER_OF_REAL_BARS OUT

Run again after a kill, it goes on. The last snapshot in OUT is what the plugin ships.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch
from corpus import corpus
from kronosfw_kronos_event.pretrain_options import KronosPretrain, ModelSizes, Phase, TokenizerSizes

OPTIONS = KronosPretrain(
    s1_bits=10,
    s2_bits=10,
    tokenizer=TokenizerSizes(d_model=64, n_heads=4, ff_dim=192, blocks=2),
    model=ModelSizes(d_model=128, n_heads=4, ff_dim=384, n_layers=4),
    tokenizer_training=Phase(steps=3000, batch=32, learning_rate=4e-3, warmup=200, evaluate_every=125),
    model_training=Phase(steps=5000, batch=32, learning_rate=2e-3, warmup=200, evaluate_every=125),
    window=128,
    prefix=(32, 112),
    mirror=0.5,
    no_volume=0.6,
    fine=0.3,
    save_as="bfloat16",
)


def main() -> None:
    """Train, reporting each evaluation."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_flush_denormal(True)
    train, validation = corpus(Path(sys.argv[1]))
    for _ in OPTIONS.build().train(train, validation, None, Path(sys.argv[2])):
        pass


if __name__ == "__main__":
    main()
