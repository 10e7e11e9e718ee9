"""A step of a generation, captured as a CUDA graph and replayed: launches bind a step, not arithmetic."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)
_capturing = threading.Lock()
_aside: dict[torch.device, torch.cuda.Stream] = {}


def replayed(step: Callable[[Tensor], None], steps: int, device: torch.device) -> int:
    """Do steps 1 to ``steps - 1`` on a CUDA device and return the first that is not done.

    ``step`` is given the slot it goes on from, a tensor on the device, and must do the same operations whatever its
    value. The first call warms up, the second is captured, the rest are replays. Where capturing fails, what is
    left is for the caller to do.
    """
    if steps < 4:
        return 1
    with torch.cuda.device(device):
        stream, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        slots = torch.zeros(1, dtype=torch.long, device=device)
        # One stream for all captures, one at a time: what another thread launches there would be captured too.
        with _capturing:
            aside = _aside.setdefault(device, torch.cuda.Stream())
            aside.wait_stream(stream)
            with torch.cuda.stream(aside):
                step(slots)
                slots += 1
                captured = _capture(graph, step, slots)
            stream.wait_stream(aside)
        if not captured:
            return 2
        for _ in range(2, steps):
            graph.replay()
    return steps


def _capture(graph: torch.cuda.CUDAGraph, step: Callable[[Tensor], None], slots: Tensor) -> bool:
    try:
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            step(slots)
            slots += 1
        finally:
            graph.capture_end()
    except RuntimeError as error:
        log.warning("a step could not be captured as a CUDA graph, which is slower: %s", error)
        return False
    return True
