"""Settings that all tests share, and the tiny weights."""

from __future__ import annotations

import torch
from hypothesis import settings

settings.register_profile("kronosfw", deadline=None, derandomize=True)
settings.load_profile("kronosfw")
torch.set_num_threads(1)
