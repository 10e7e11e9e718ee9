"""What is learned: each example at its own cutoff, in rounds that add up to the package's own training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from chronos.chronos2.dataset import Chronos2Dataset
from kronosfw_chronos2.lessons import LEVELS, Lessons, lessons, loss, spread
from kronosfw_chronos2.options import Chronos2
from kronosfw_chronos2.rounds import Schedule, State, advance, drawing, lora, new, quiet
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from transformers import TrainerCallback

from kronosfw.builtin.forecasters import Drift
from kronosfw.types import Example

from .lora_lessons import CONTEXT, HORIZON, base, examples
from .tiny import make_tiny

OPTIONS = Chronos2(model="a/b")
OHLC = Chronos2(model="a/b", targets="ohlc")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("base"))


def known(context: torch.Tensor) -> torch.Tensor:
    return ~context.isnan()


@pytest.mark.parametrize(("options", "targets"), [(OPTIONS, 1), (OHLC, 4)])
def test_of_what_comes_after_the_cutoff_only_the_targets_and_what_was_known_ahead_are_shown(
    options: Chronos2, targets: int
):
    found = lessons(examples(), options, None)
    assert (found.context, found.horizon) == (CONTEXT, HORIZON)
    for one in found.inputs:
        after = known(one["context"][:, CONTEXT:])
        ahead = one["n_future_covariates"]
        assert one["n_targets"] == targets
        assert one["n_covariates"] == len(after) - targets
        assert after[:targets].all()
        assert not after[targets : len(after) - ahead].any()
        assert after[len(after) - ahead :].any()
        assert 0 < ahead < one["n_covariates"]


def test_learning_shows_the_model_what_a_forecast_does(model: Path):
    """Context and channels of an example are those of its window, scaled alike, and its outcome too."""
    forecaster = base(model)
    given = examples(number=3)
    for example, one in zip(given, lessons(given, OPTIONS, None).inputs, strict=True):
        rows = forecaster._rows(example.window)
        np.testing.assert_array_equal(one["context"][:, :CONTEXT], rows.past)
        np.testing.assert_array_equal(one["context"][1:, CONTEXT:], rows.future[1:])
        outcome = rows.prices(one["context"][:1, None, CONTEXT:].double().numpy())
        np.testing.assert_allclose(outcome[0, 0], example.target.close, rtol=1e-6)


def test_every_draw_of_an_example_is_cut_at_its_cutoff():
    (one, *_) = found = lessons(examples(number=1), OPTIONS, None).inputs
    dataset = Chronos2Dataset(list(found), CONTEXT, HORIZON, 8, 16, min_past=CONTEXT, mode="train")
    for _ in range(20):
        context, target, future, count = dataset._construct_slice(0)
        torch.testing.assert_close(context, one["context"][:, :CONTEXT], equal_nan=True, rtol=0, atol=0)
        torch.testing.assert_close(target[:1], one["context"][:1, CONTEXT:], rtol=0, atol=0)
        assert target[1:].isnan().all()
        assert future[: len(future) - one["n_future_covariates"]].isnan().all()
        assert count == 1


def test_short_and_long_examples_and_those_without_channels_are_learned_together(model: Path, tmp_path: Path):
    given = [*examples(number=2, context=30), *examples(number=2), *examples(number=2, events=False)]
    found = lessons(given, OPTIONS, None)
    assert found.context == CONTEXT
    assert [int(known(one["context"][0]).sum()) for one in found.inputs] == [35] * 4 + [45] * 8
    assert len({len(one["context"]) for one in found.inputs}) > 1
    assert found.series == max(len(one["context"]) for one in found.inputs)
    pipeline = base(model).pipeline
    config, schedule = lora(2, 4, 0.0), Schedule(2, 1e-2, 40, 0)
    state, learned = advance(pipeline, found, config, schedule, new(pipeline, config, 0), 2, tmp_path)
    assert state.step == 2
    assert np.isfinite(learned)


def test_the_context_is_capped():
    found = lessons(examples(number=2), OPTIONS, 20)
    assert found.context == 20
    longer = lessons(examples(number=2), OPTIONS, None)
    assert [one["context"].shape[1] for one in found.inputs] == [25] * 4
    assert found.fingerprint() != longer.fingerprint()


def test_one_infinity_spoils_nothing():
    (example, *_) = examples(number=1)
    values = example.window.bars.values.copy()
    values[5] = np.inf
    target = example.target.values.copy()
    target[2] = -np.inf
    bars = replace(example.window.bars, values=values)
    spoiled = Example(replace(example.window, bars=bars), replace(example.target, values=target))
    (one,) = lessons([spoiled], OPTIONS, None).inputs
    assert not one["context"].isinf().any()
    assert known(one["context"][0]).sum() == CONTEXT + HORIZON - 2


def test_rounds_add_up_to_the_packages_own_training(model: Path, tmp_path: Path):
    """With one example and no dropout nothing is drawn: rounds and one `fit` come to the same bits."""
    found = lessons(examples(number=1)[:1], OPTIONS, None)
    pipeline = base(model).pipeline
    config, schedule = lora(2, 4, 0.0), Schedule(10, 1e-2, 4, 0)
    first = state = new(pipeline, config, 7)
    for until in (4, 7, 10):
        state, _ = advance(pipeline, found, config, schedule, state, until, tmp_path)

    class FromTheSame(TrainerCallback):
        def on_train_begin(self, *_, model, **__):
            set_peft_model_state_dict(model, dict(first.adapter))

    with drawing(7, pipeline.model.device), quiet():
        whole = pipeline.fit(
            list(found.inputs),
            HORIZON,
            finetune_mode="lora",
            lora_config=config,
            context_length=CONTEXT,
            min_past=CONTEXT,
            learning_rate=1e-2,
            num_steps=10,
            batch_size=4,
            output_dir=tmp_path / "fit",
            callbacks=[FromTheSame()],
            remove_printer_callback=True,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
    expected = get_peft_model_state_dict(whole.model)
    assert expected.keys() == state.adapter.keys()
    assert all(torch.equal(expected[name], state.adapter[name]) for name in expected)
    assert not any(torch.equal(first.adapter[name], state.adapter[name]) for name in expected)


def test_each_round_draws_other_examples(model: Path, tmp_path: Path):
    found = lessons(examples(), OPTIONS, None)
    pipeline = base(model).pipeline
    config, schedule = lora(2, 4, 0.0), Schedule(4, 1e-2, 20, 0)
    first = new(pipeline, config, 0)
    one, other = (
        advance(pipeline, found, config, schedule, State(step, first.adapter), step + 1, tmp_path)[1]
        for step in (0, 1)
    )
    assert one != other, "a step's loss before any learning depends on the examples alone"


def test_the_loss_is_the_pinball_loss_relative_to_what_moves():
    given = examples(number=2)
    windows = [example.window for example in given]
    forecaster = Drift().build()
    parts = []
    for example, forecast in zip(given, forecaster.forecast(windows, LEVELS), strict=True):
        closes = example.window.bars.close
        scale = sum(abs(closes[t] - closes[t - 1]) for t in range(1, CONTEXT)) / (CONTEXT - 1)
        for step in range(HORIZON):
            for i, level in enumerate(LEVELS):
                error = example.target.close[step] - forecast.quantiles[step, 0, i]
                parts.append(2 * (level * error if error > 0 else (level - 1) * error) / scale)
    assert loss(forecaster, given) == pytest.approx(np.mean(parts), rel=1e-12)


def test_examples_to_validate_with_are_spread_over_all():
    given = examples(number=6)
    assert [given.index(one) for one in spread(given, 4)] == [0, 3, 7, 11]
    assert spread(given, 100) == given


def test_a_fingerprint_tells_lessons_apart():
    one, other = (lessons(examples(first), OPTIONS, None) for first in (60, 61))
    assert one.fingerprint() == lessons(examples(60), OPTIONS, None).fingerprint()
    assert one.fingerprint() != other.fingerprint()
    fewer = Lessons(one.inputs[1:], CONTEXT, HORIZON, one.channels, one.known_ahead)
    assert fewer.fingerprint() != one.fingerprint()
