"""The snippets of the README run as they stand, on small data and the weights that come with the plugin."""

from __future__ import annotations

import re
from pathlib import Path

import kronosfw_kronos_event
import numpy as np
import pytest
from kronosfw_kronos_event.pretrain_options import KronosPretrain

from kronosfw.testing.market import random_bars

NANO = Path(kronosfw_kronos_event.__file__).parent / "nano"
README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
SAMPLING, TRAINING = re.findall(r"```python\n(.*?)```", README, re.S)


def test_sampling_without_kronosfw():
    bars = random_bars("X", 90)
    source = re.sub(r"^(prices|times) = .*\n", "", SAMPLING, flags=re.M)
    source = source.replace('"NeoQuasar/Kronos-Tokenizer-base"', repr(str(NANO / "tokenizer")))
    source = source.replace('"NeoQuasar/Kronos-small"', repr(str(NANO / "model")))
    given = {"prices": bars.values[:80, :4], "times": bars.times.time[:90]}
    exec(source, given)
    assert given["drawn"].shape == (30, 10, 6)
    assert (np.diff(given["envelope"], axis=1) > 0).all()


def test_training_on_bars_of_ones_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    phase = {"steps": 1, "batch": 2}
    small = {"d_model": 16, "n_heads": 2, "ff_dim": 16}
    options = KronosPretrain(
        s1_bits=4,
        s2_bits=4,
        tokenizer={**small, "blocks": 1},
        model={**small, "n_layers": 1},
        tokenizer_training=phase,
        model_training=phase,
    )
    source = TRAINING.replace('KronosPretrain(save_as="bfloat16")', "options")
    exec(source, {"train": [random_bars("X", 200)], "held_out": [random_bars("Y", 200)], "options": options})
    assert capsys.readouterr().out.startswith("2 ")
    assert (tmp_path / "out" / "step-0000001" / "about.json").exists()


@pytest.mark.parametrize("name", ["kronos-nano", "NeoQuasar/Kronos-base"])
def test_every_model_of_the_table_is_known(name):
    assert f"`{name}`" in README
