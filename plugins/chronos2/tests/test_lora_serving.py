"""From the configuration to what serves: adapters are trained, admitted, chosen by asset class and taken back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kronosfw.checkpoints import Shelf
from kronosfw.cli import call
from kronosfw.loading import load
from kronosfw.pipeline import run
from kronosfw.plugins import Plugins

from .tiny import make_tiny

CONFIG = """
feed: {{type: simulated, start: 2020-01-01, end: 2022-02-28}}
universe:
  SPY: {{asset_class: equity}}
  QQQ: {{asset_class: equity}}
  BTCUSDT: {{asset_class: crypto}}
  ETHUSDT: {{asset_class: crypto}}
encoders: [{{type: macro20, btc: null, dxy: null, vix: null}}]
horizon: 2
context: 40
forecasters: [{{type: chronos2, model: {model}, threads: 1}}]
ensembler: null
trainer:
  type: chronos2_lora
  model: {model}
  threads: 1
  steps: 10
  learning_rate: 5e-2
  again: {{steps: 20, learning_rate: 5e-2}}
  batch: 8
  evaluate_every: 10
training: {{start: 2020-10-01, validate_from: 2021-03-01, until: 2021-04-01, stride: 5}}
retraining: {{days: 240, validate_days: 60, judge_days: 60}}
checkpoints: {{type: rolling, guard: {{shrinkage: {{shares: [0, 1, 1.5]}}}}}}
checkpoint_root: checkpoints
store: sqlite:///results.db
"""
NOW = datetime(2022, 1, 3, 6, tzinfo=UTC)


def test_adapters_serve_their_class_until_they_are_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    model = make_tiny(tmp_path / "model")
    Path("kronosfw.yaml").write_text(CONFIG.format(model=model))
    plugins = Plugins.installed()
    config, _ = load(Path("kronosfw.yaml"), plugins)

    def serves() -> dict[str, str]:
        report = run(config, plugins, as_of=NOW)
        assert not report.failures, report.failures
        return dict(report.versions["chronos2"])

    own = serves()
    assert call(["train", "kronosfw.yaml"]) == 0
    pooled = serves()
    assert all("@base/" in pooled[name] and "@" not in own[name] for name in ("equity", "crypto"))
    assert call(["retrain", "kronosfw.yaml", "--if-due", "--as-of", f"{NOW:%Y-%m-%d}"]) == 0
    assert capsys.readouterr().err == ""
    promoted = serves()
    shelves = {name: Shelf(config.checkpoint_root, name) for name in ("equity", "crypto")}
    for name, shelf in shelves.items():
        assert promoted[name].endswith(f"@{name}/{shelf.active.version}")
        folder = shelf.versions / shelf.active.version
        assert {"about.json", "adapter_config.json", "adapter_model.safetensors"} <= {
            path.name for path in folder.iterdir()
        }
        assert not [path for path in folder.rglob("*") if path.suffix in {".pt", ".bin", ".pkl"}]
    assert call(["checkpoints", "rollback", "kronosfw.yaml", "--class", "equity"]) == 0
    assert serves() == {**promoted, "equity": pooled["equity"]}
