"""Checkpoints of adapters: what they are made of, which are refused, and forecasts with them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from kronosfw_kronos_event.forecaster import KronosForecaster
from kronosfw_kronos_event.kronos.adapter import load_adapter, save_about
from kronosfw_kronos_event.kronos.engine import Engine
from kronosfw_kronos_event.kronos.errors import WeightsError
from kronosfw_kronos_event.kronos.events import Channels
from kronosfw_kronos_event.kronos.model import Kronos
from kronosfw_kronos_event.options import KronosEvent
from kronosfw_kronos_event.sources import fingerprints, source
from safetensors.torch import load_file, save_file

from kronosfw.builtin.encoders import Macro20
from kronosfw.testing import ForecasterContract
from kronosfw.testing.forecasters import assert_equal
from kronosfw.testing.market import SmallMarket, cutoff_at
from kronosfw.types import Covariates, Window

from .made import ALL_LINEARS, BASE, CHANNELS, MODEL, adaptable, adapter, pair
from .test_events import random_events, tokens
from .test_forecaster import GOLDEN, LEVELS, tiny

ENCODER = Macro20().build()
MACRO = Channels(
    ENCODER.names,
    ENCODER.known_ahead,
    marks=tuple(name for name in ENCODER.names if name.startswith("is_")),
    announces=("next_bar_event",),
)
LORA = "base_model.model.transformer.0.self_attn.q_proj.lora_A.weight"


def checkpoint(folder: Path, channels: Channels | None = MACRO, seed: int = 0, **shape: Any) -> Path:
    """Write an adapter for the golden model with random weights, and return its folder."""
    made = adaptable(Kronos.from_pretrained(GOLDEN / "model"), channels=channels, seed=seed, **shape)
    made.save(folder)
    save_about(folder, fingerprints(source(tiny())), made.model, made.events)
    about = {"max_context": 64, "context": 60, "least": 8, "rotary": False}
    (folder / "about.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("checkpoint"), output=True)


@pytest.fixture(scope="module")
def market() -> SmallMarket:
    return SmallMarket.make(n_symbols=3, n=200)


def cut(market: SmallMarket, position: int = 120, horizon: int = 5) -> list[Window]:
    cutoff = cutoff_at(market.bars["S0"].times, position)
    return market.windows(cutoff, context=60, horizon=horizon, encoders=[ENCODER])


def with_rows(window: Window, values: np.ndarray, **change: Any) -> Window:
    return replace(window, covariates=replace(window.covariates, values=values, **change))


class TestContract(ForecasterContract):
    """Everything that is asked of a forecaster, asked of one with an adapter, on windows with channels."""

    rtol = 1e-4

    @pytest.fixture
    def options(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> KronosEvent:
        build = KronosEvent.build
        monkeypatch.setattr(KronosEvent, "build", lambda options: build(options).with_checkpoint(folder))
        return tiny()

    def cut(self, market: SmallMarket, forecaster: KronosForecaster, **shape: Any) -> list[Window]:
        return super().cut(market, forecaster, encoders=(ENCODER,), **shape)

    def test_covariates_are_welcome(self, forecaster: KronosForecaster, market: SmallMarket) -> None:
        """Other channels than those it was trained with are refused."""
        (window, *_) = super().cut(market, forecaster)
        values = np.zeros((len(window.bars) + window.horizon, 1), np.float32)
        other = Covariates(values, values > 0, ("is_cpi",), (True,), ("schedule",))
        with pytest.raises(ValueError, match="trained with other event channels"):
            forecaster.forecast([replace(window, covariates=other)], LEVELS)

    def test_base_weights_are_those_it_starts_with(self, forecaster: KronosForecaster, market: SmallMarket) -> None:
        windows = self.cut(market, forecaster)
        base = forecaster.with_checkpoint(None)
        plain = [replace(window, covariates=None) for window in windows]
        assert_equal(base.forecast(windows, LEVELS), base.forecast(plain, LEVELS))
        found = forecaster.forecast(windows, LEVELS)
        for one, other in zip(found, base.forecast(windows, LEVELS), strict=True):
            assert not np.array_equal(one.quantiles, other.quantiles)


class TestForecasts:
    def test_masked_values_do_not_matter(self, folder: Path, market: SmallMarket):
        forecaster = tiny().build().with_checkpoint(folder)
        rng = np.random.default_rng(0)
        for window in cut(market):
            given = window.covariates
            values = np.where(given.mask, rng.normal(size=given.values.shape), given.values)
            assert (values[-5:] != given.values[-5:]).any()
            assert_equal(
                forecaster.forecast([with_rows(window, values)], LEVELS), forecaster.forecast([window], LEVELS)
            )

    def test_what_the_schedule_says_does(self, folder: Path, market: SmallMarket):
        forecaster = tiny().build().with_checkpoint(folder)
        (window, *_) = cut(market)
        for row in (-5, -3):
            values = window.covariates.values.copy()
            values[row, ENCODER.names.index("is_cpi")] += 1
            (one,), (other,) = (forecaster.forecast([w], LEVELS) for w in (window, with_rows(window, values)))
            assert not np.array_equal(one.quantiles, other.quantiles)

    def test_no_future_reaches_a_forecast(self, folder: Path, market: SmallMarket):
        forecaster = tiny().build().with_checkpoint(folder)
        for position in (90, 120, 151):
            windows = cut(market, position)
            for seed in range(3):
                other = market.with_another_future(windows[0].cutoff, seed)
                assert_equal(
                    forecaster.forecast(cut(other, position), LEVELS), forecaster.forecast(windows, LEVELS)
                )

    def test_a_surprise_is_felt_when_it_is_known_and_not_before(self, folder: Path):
        forecaster = tiny().build().with_checkpoint(folder)
        market = SmallMarket.make(n_symbols=1, n=600)
        times = market.bars["S0"].times
        releases = [fact for fact in market.facts if fact.kind == "cpi" and "actual" in fact.values]
        release = next(fact for fact in releases if fact.known_at > times.time[450])
        higher = replace(release, values={**release.values, "actual": release.values["actual"] + 0.1})
        other = replace(market, facts=[higher if fact is release else fact for fact in market.facts])
        known = int(np.searchsorted(times.available_at, release.known_at))
        for position, felt in ((known - 2, False), (known - 1, False), (known, True)):
            (one,), (another,) = (forecaster.forecast(cut(each, position), LEVELS) for each in (market, other))
            assert np.array_equal(one.quantiles, another.quantiles) != felt

    def test_a_gate_leaves_windows_without_events_to_the_base(self, tmp_path: Path, market: SmallMarket):
        base = tiny().build()
        gated = base.with_checkpoint(checkpoint(tmp_path, replace(MACRO, gate=2), output=True))
        windows = cut(replace(market, facts=[]))
        assert_equal(gated.forecast(windows, LEVELS), base.forecast(windows, LEVELS))
        assert any(
            not np.array_equal(one.quantiles, other.quantiles)
            for one, other in zip(
                *(f.forecast(cut(market, horizon=20), LEVELS) for f in (gated, base)), strict=True
            )
        )

    @pytest.mark.parametrize("sliding", ["exact", "chunked"])
    def test_windows_longer_than_the_model_slide(self, folder: Path, market: SmallMarket, sliding: str):
        forecaster = tiny(sliding=sliding, chunk=4).build().with_checkpoint(folder)
        for forecast in forecaster.forecast(cut(market, horizon=20), LEVELS):
            assert np.isfinite(forecast.quantiles).all()


class TestResidence:
    def test_adapters_share_the_base_and_stay(self, folder: Path, tmp_path: Path, market: SmallMarket):
        base = tiny().build()
        others = [folder, checkpoint(tmp_path / "b", seed=1), checkpoint(tmp_path / "c", None, seed=2)]
        found = [base.with_checkpoint(path) for path in others]
        assert [one.with_checkpoint(path) for one, path in zip(found[::-1], others, strict=True)] == found
        assert all(one.with_checkpoint(None) is base for one in found)
        pointers = {weights(one) for one in [base, *found]}
        assert len(pointers) == 1
        windows = cut(market)
        drawn = [one.forecast(windows, LEVELS)[0].quantiles for one in [base, *found]]
        for i, one in enumerate(drawn):
            assert not any(np.array_equal(one, other) for other in drawn[i + 1 :])
        assert_equal(base.forecast(windows, LEVELS), tiny().build().forecast(windows, LEVELS))
        assert found[0].max_context == 60

    def test_other_positions_or_rotation_are_another_base(self, folder: Path, tmp_path: Path):
        base = KronosEvent(**{**tiny().model_dump(), "max_context": None}).build()
        assert base.max_context == 512
        other = base.with_checkpoint(folder)
        assert other._sampler.options.max_context == 64


def weights(forecaster: KronosForecaster) -> tuple[int, ...]:
    """Return where in memory the packed weights are."""
    engine = forecaster._sampler._engine
    packed = [layer.qkv[0] for layer in engine._transformer.layers] + [engine._s1_rows, engine._queries]
    return tuple(tensor.data_ptr() for tensor in packed)


class TestRefusedWindows:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                lambda c: None,
                "name `encoders` that give is_fomc, is_cpi, is_nfp, is_gdp, is_pce, cpi_surprise_z and 14",
            ),
            (lambda c: some(c, list(range(3, 20))), "the encoders lack is_fomc, is_cpi, is_nfp$"),
            (lambda c: some(c, list(range(19, -1, -1))), "the encoders give them in another order"),
            (
                lambda c: replace(c, names=("is_ppi", *c.names[1:])),
                "the encoders lack is_fomc and give is_ppi",
            ),
            (lambda c: replace(c, known_ahead=(False, *c.known_ahead[1:])), "others are known ahead"),
        ],
        ids=["none", "fewer", "order", "renamed", "known ahead"],
    )
    def test_other_channels(self, folder: Path, market: SmallMarket, change: Callable[..., Any], said: str):
        forecaster = tiny().build().with_checkpoint(folder)
        (window, *_) = cut(market)
        with pytest.raises(ValueError, match=said):
            forecaster.forecast([replace(window, covariates=change(window.covariates))], LEVELS)

    def test_bars_of_another_length(self, tmp_path: Path, market: SmallMarket):
        path = checkpoint(tmp_path)
        about = json.loads((path / "about.json").read_text())
        (path / "about.json").write_text(json.dumps({**about, "freq": "1h"}))
        with pytest.raises(ValueError, match="trained on bars of 1h, these are of 1d"):
            tiny().build().with_checkpoint(path).forecast(cut(market), LEVELS)


@pytest.mark.parametrize(
    "name", ["about.json", "adapter_config.json", "adapter_model.safetensors", "events.safetensors"]
)
def test_a_checkpoint_that_lacks_a_file_is_refused(tmp_path: Path, name: str):
    path = checkpoint(tmp_path)
    (path / name).unlink()
    with pytest.raises(WeightsError, match=name):
        tiny().build().with_checkpoint(path)


def some(given: Covariates, columns: list[int]) -> Covariates:
    names, ahead, groups = (
        tuple(values[i] for i in columns) for values in (given.names, given.known_ahead, given.groups)
    )
    return Covariates(given.values[:, columns], given.mask[:, columns], names, ahead, groups)


def edited(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def resaved(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def told_differently(path: Path, **values: Any) -> None:
    about = json.loads(path.read_text())
    edited(path, channels={**about["channels"], **values})


class TestRefusedAdapters:
    """Each with a reason that names what is wrong."""

    @pytest.fixture
    def made(self, tmp_path: Path) -> Path:
        adapter(tmp_path, adaptable(pair()[1], ALL_LINEARS, output=True), pair()[1])
        return tmp_path

    def refusal(self, folder: Path, base: dict[str, str] = BASE, model: Kronos | None = None) -> str:
        with pytest.raises(WeightsError) as error:
            load_adapter(folder, model or pair()[1], base)
        return str(error.value)

    @pytest.mark.parametrize("name", ["model", "tokenizer"])
    def test_for_another_base(self, made: Path, name: str):
        said = self.refusal(made, {**BASE, name: "c" * 64})
        assert f"another {name}: one with the fingerprint {BASE[name][:12]}, and this has cccccccccccc" in said

    def test_of_another_width(self, made: Path):
        assert "for a model of width 40, and this has 48" in self.refusal(
            made, model=pair(replace(MODEL, d_model=48))[1]
        )

    def test_of_fewer_layers(self, made: Path):
        said = self.refusal(made, model=pair(replace(MODEL, n_layers=1))[1])
        assert "adapts transformer.1.ffn.w1" in said

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"base": 3}', '{"d_model": 40}'])
    def test_that_say_nonsense_about_themselves(self, made: Path, text: str):
        (made / "adapter.json").write_text(text)
        assert "adapter.json" in self.refusal(made)

    @pytest.mark.parametrize(
        "change",
        [
            {"names": None},
            {"names": ["is_cpi"]},
            {"marks": ["is_ppi"]},
            {"marks": [1, "a"]},
            {"gate": "wide"},
            {"output": None, "known_ahead": 3},
        ],
        ids=str,
    )
    def test_that_say_nonsense_about_their_channels(self, made: Path, change: dict[str, Any]):
        told_differently(made / "adapter.json", **change)
        assert "adapter.json does not say which channels it wants" in self.refusal(made)

    @pytest.mark.parametrize("name", ["adapter_model.safetensors", "events.safetensors"])
    def test_that_are_cut_short(self, made: Path, name: str):
        whole = (made / name).read_bytes()
        for size in (0, 4, 200, len(whole) - 1):
            (made / name).write_bytes(whole[:size])
            assert f"{name} is cut short or damaged" in self.refusal(made)

    @pytest.mark.parametrize("name", ["adapter_model.safetensors", "events.safetensors"])
    def test_with_values_that_are_not_finite(self, made: Path, name: str):
        for bad in (torch.nan, torch.inf):
            resaved(made / name, lambda tensors, bad=bad: next(iter(tensors.values())).view(-1)[:1].fill_(bad))
            assert "has values that are not finite" in self.refusal(made)

    @pytest.mark.parametrize("name", ["adapter_model.safetensors", "events.safetensors"])
    def test_pickled(self, made: Path, name: str):
        (made / name).write_bytes(pickle.dumps({"weight": [1, 2, 3]}))
        assert "is a pickle, which may run code" in self.refusal(made)
        (made / name).rename((made / name).with_suffix(".bin"))
        assert f"holds {name.split('.')[0]}.bin, a pickle that may run code, and no {name}" in self.refusal(made)

    @pytest.mark.parametrize("name", ["adapter_model.safetensors", "events.safetensors"])
    def test_with_a_file_missing(self, made: Path, name: str):
        (made / name).unlink()
        assert f"there is no {made / name}" in self.refusal(made)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("self_attn.q_proj", "self_attn.o_proj"),
            ("transformer.0", "transformer.7"),
            ("base_model.model.transformer.0.self_attn", "base_model.model.dep_layer.cross_attn"),
            ("transformer.0", "transformer." + "9" * 5000),
            ("lora_A", "lora_magnitude_vector"),
        ],
        ids=["name", "block", "elsewhere", "far away", "kind"],
    )
    def test_with_an_unknown_module(self, made: Path, old: str, new: str):
        resaved(
            made / "adapter_model.safetensors",
            lambda tensors: tensors.update({LORA.replace(old, new): tensors.pop(LORA)}),
        )
        assert "which this model does not have" in self.refusal(made)

    def test_with_half_of_a_pair(self, made: Path):
        resaved(made / "adapter_model.safetensors", lambda tensors: tensors.pop(LORA))
        assert f"lacks {LORA}" in self.refusal(made)

    def test_of_another_rank_than_said(self, made: Path):
        edited(made / "adapter_config.json", r=4)
        assert "is [3, 40] instead of [4, 40]" in self.refusal(made)

    @pytest.mark.parametrize("rank", [None, 0, -1, "8", 1e9, 2**40])
    def test_without_a_rank(self, made: Path, rank: Any):
        edited(made / "adapter_config.json", r=rank)
        assert "does not say r and lora_alpha as numbers" in self.refusal(made)

    @pytest.mark.parametrize("alpha", [None, "16", float("nan"), float("inf")])
    def test_without_a_scale(self, made: Path, alpha: Any):
        edited(made / "adapter_config.json", lora_alpha=alpha)
        assert "does not say r and lora_alpha as numbers" in self.refusal(made)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("peft_type", "LOHA"),
            ("bias", "all"),
            ("use_dora", True),
            ("fan_in_fan_out", True),
            ("modules_to_save", ["head"]),
            ("rank_pattern", {"q_proj": 4}),
            ("alpha_pattern", {"q_proj": 4}),
            ("lora_bias", True),
            ("init_lora_weights", "pissa"),
            ("layer_replication", [[0, 1]]),
            ("alora_invocation_tokens", [1]),
        ],
    )
    def test_of_another_kind(self, made: Path, key: str, value: Any):
        edited(made / "adapter_config.json", **{key: value})
        assert f"adapter_config.json: {key} = {value!r} is not supported here" in self.refusal(made)

    def test_by_the_forecaster_too(self, tmp_path: Path):
        base = tiny().build()
        with pytest.raises(WeightsError, match="neither a model nor an adapter"):
            base.with_checkpoint(tmp_path)
        with pytest.raises(WeightsError, match="trained for another model"):
            KronosEvent(threads=1).build().with_checkpoint(checkpoint(tmp_path))


class TestFormat:
    """The files are peft's own."""

    @pytest.mark.parametrize("rslora", [False, True])
    def test_peft_loads_them(self, tmp_path: Path, rslora: bool):
        _, model = pair()
        trained = adaptable(pair()[1], ALL_LINEARS, None)
        adapter(tmp_path, trained, model)
        edited(tmp_path / "adapter_config.json", use_rslora=rslora)
        loaded = load_adapter(tmp_path, model, BASE)
        given = tokens()
        engine = Engine(*pair()).with_adapter(loaded)
        with torch.inference_mode():
            found, _ = engine.read(*given, None, 1, 1)
            wrapped = peft.PeftModel.from_pretrained(pair()[1], str(tmp_path)).eval()
            expected = wrapped.base_model.model.hidden(*given)
        # Of values up to 4; how float32 rounds depends on the processor.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
        assert torch.equal(trained.hidden(*given, None), expected) != rslora

    def test_what_is_saved_is_loaded_to_go_on_from(self, tmp_path: Path):
        one = adaptable(pair()[1], ALL_LINEARS, output=True)
        other = adaptable(pair()[1], ALL_LINEARS, output=True, seed=1)
        one.save(tmp_path)
        before = one.lora.peft_config["default"].inference_mode
        other.load(tmp_path)
        given = *tokens(), random_events(CHANNELS)
        assert torch.equal(one.hidden(*given), other.hidden(*given))
        assert before is False

    def test_files_say_what_they_are_and_nothing_of_this_machine(self, tmp_path: Path):
        made = adaptable(pair()[1], output=True)
        adapter(tmp_path, made, pair()[1])
        assert sorted(p.name for p in tmp_path.iterdir()) == [
            "adapter.json",
            "adapter_config.json",
            "adapter_model.safetensors",
            "events.safetensors",
        ]
        about = json.loads((tmp_path / "adapter.json").read_text())
        assert about["channels"] == json.loads(json.dumps(asdict(CHANNELS)))
        assert "/" not in (tmp_path / "adapter_config.json").read_text()

    def test_an_adapter_is_moved_without_being_changed(self, tmp_path: Path):
        loaded = adapter(tmp_path, adaptable(pair()[1]), pair()[1])
        small = loaded.to(torch.device("cpu"), torch.bfloat16)
        assert small.events.embed.weight.dtype == small.layers[0]["qkv"].up.dtype == torch.bfloat16
        assert loaded.events.embed.weight.dtype == loaded.layers[0]["qkv"].up.dtype == torch.float32
