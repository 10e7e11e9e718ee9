"""The state of a training on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from kronosfw.files import write_atomically

from .rounds import State

_PARTS = "adapter", "moments"


class Kept:
    """The file that a killed training goes on from."""

    def __init__(self, folder: Path, subject: str) -> None:
        """``subject`` says what is trained on what: a state of anything else is refused."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / "state.safetensors"
        self.subject = subject

    def save(self, state: State, metrics: Mapping[str, float]) -> None:
        """Keep a state and what was measured there, in place of the last; raises OSError."""
        parts = {"adapter": state.adapter, "moments": state.moments}
        tensors = {f"{part}/{name}": tensor for part in _PARTS for name, tensor in parts[part].items()}
        about = json.dumps({"subject": self.subject, "step": state.step, "metrics": dict(metrics)})
        content = save(tensors, {"about": about})
        write_atomically(self.path, lambda file: file.write(content))

    def load(self) -> tuple[State, dict[str, float]] | None:
        """Return what was kept, if anything was; raises ValueError where it is damaged or of another training."""
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                about = json.loads(file.metadata()["about"])
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{self.path} is damaged ({error}): delete it to begin anew") from None
        if about["subject"] != self.subject:
            raise ValueError(
                f"{self.path} belongs to a training with other options, data or weights: "
                "give another folder, or delete it"
            )
        adapter, moments = (
            {name.removeprefix(f"{part}/"): one for name, one in tensors.items() if name.startswith(f"{part}/")}
            for part in _PARTS
        )
        return State(about["step"], adapter, moments), about["metrics"]
