"""Settings that all tests share."""

from __future__ import annotations

import torch
from hypothesis import settings

settings.register_profile("kronosfw", deadline=None, derandomize=True)
settings.load_profile("kronosfw")
# Tensors this small are quicker so, above all beside other work.
torch.set_num_threads(1)
