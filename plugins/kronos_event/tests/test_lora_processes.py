"""A training in processes of its own: killed, and on two devices."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .lessons import GOLDEN, losses, tiny, train

SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from lessons import lessons, tiny
options = tiny(epochs=float(sys.argv[3]), evaluate_every=int(sys.argv[4]))
list(options.build().train(*lessons(), None, Path(sys.argv[2])))
"""


def start(out: Path, epochs: float, evaluate_every: int, **env: str) -> subprocess.Popen[bytes]:
    """Start a training in a process of its own."""
    arguments = str(Path(__file__).parent), str(out), str(epochs), str(evaluate_every)
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], env={**os.environ, **env})


def test_a_killed_training_ends_with_the_same_weights(tmp_path: Path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    options = tiny(epochs=10, evaluate_every=1)
    train(options, undisturbed)
    process = start(killed, 10, 1)
    state = killed / "training" / "model" / "state.safetensors"
    deadline = time.monotonic() + 300
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.1))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was to be killed in the middle"
    train(options, killed)
    kept = sorted(path.relative_to(undisturbed) for path in undisturbed.glob("step-*/*.safetensors"))
    assert len(kept) == 2 * 31
    for name in kept:
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert losses(killed) == losses(undisturbed)


def test_two_devices_train_one_adapter(tmp_path: Path):
    """Two processes with a share of each batch: one set of files, and losses close to those of one process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "1",
        "OMP_NUM_THREADS": "1",
    }
    ranks = [start(tmp_path / "two", 2, 3, **shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(2)]
    train(tiny(evaluate_every=3), tmp_path / "one")
    assert [rank.wait(timeout=240) for rank in ranks] == [0, 0]
    one, two = (losses(tmp_path / name) for name in ("one", "two"))
    assert [x["step"] for x in one] == [x["step"] for x in two] == [0, 3, 6]
    for alone, together in zip(one, two, strict=True):
        assert together["validation"]["loss"] == pytest.approx(alone["validation"]["loss"], rel=0.02)


def test_the_command_drives_two_devices(tmp_path: Path):
    """Two processes of `kronosfw train`, as `accelerate launch` starts them: one version, told of once."""
    (tmp_path / "train.yaml").write_text(
        f"""
feed: {{type: simulated, start: 2021-01-01, end: 2023-06-30}}
universe: {{SPY: {{asset_class: equity}}, QQQ: {{asset_class: equity}}}}
context: 40
encoders: [{{type: macro20, btc: null, dxy: null, vix: null}}]
forecasters: [{{type: drift}}]
trainer:
  type: kronos_lora
  model: {GOLDEN / "model"}
  tokenizer: {GOLDEN / "tokenizer"}
  max_context: 64
  epochs: 0.2
  batch: 8
  evaluate_every: 3
training: {{validate_from: 2023-06-01}}
checkpoint_root: checkpoints
store: sqlite:///results.db
"""
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "kronosfw", "train", str(tmp_path / "train.yaml"), "--json"]
    ranks = [
        subprocess.Popen(
            command, env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.PIPE
        )
        for rank in range(2)
    ]
    leader, other = (rank.communicate(timeout=240)[0] for rank in ranks)
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert other == b""
    (version,) = (tmp_path / "checkpoints" / "base" / "versions").iterdir()
    assert json.loads(leader)["version"] == version.name
    assert {"adapter.json", "adapter_model.safetensors", "logs"} <= {path.name for path in version.iterdir()}
    assert not (tmp_path / "checkpoints" / "training" / f"base-{version.name[-12:]}").exists()
