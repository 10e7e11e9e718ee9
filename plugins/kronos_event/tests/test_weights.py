"""Loading and saving weights: what comes back is what the files hold, and files that are wrong are refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kronosfw_kronos_event.kronos.checkpoint import fingerprint
from kronosfw_kronos_event.kronos.errors import WeightsError
from kronosfw_kronos_event.kronos.model import Kronos, KronosConfig
from kronosfw_kronos_event.kronos.tokenizer import KronosTokenizer
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parent / "golden"
CLASSES = {"model": Kronos, "tokenizer": KronosTokenizer}
FILES = ("config.json", "model.safetensors")
both = pytest.mark.parametrize("name", CLASSES)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tensors this small are quicker so, above all beside other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the model's files, to be spoilt."""
    return Path(shutil.copytree(GOLDEN / "model", tmp_path / "model"))


def refusal(folder: Path, name: str = "model", **options: Any) -> str:
    """Return what loading says, one or two lines that name the folder."""
    with pytest.raises(WeightsError) as error:
        CLASSES[name].from_pretrained(folder, **options)
    message = str(error.value)
    assert str(folder) in message
    assert message.count("\n") <= 1
    return message


def change_config(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((folder / "config.json").read_text())
    change(values)
    (folder / "config.json").write_text(json.dumps(values))


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@contextmanager
def spoilt(content: bytes) -> Iterator[Path]:
    """Lend a folder whose weights are these bytes."""
    with TemporaryDirectory() as name:
        shutil.copy(GOLDEN / "model" / "config.json", name)
        (Path(name) / "model.safetensors").write_bytes(content)
        yield Path(name)


class TestLoading:
    def test_golden_figures(self) -> None:
        golden = np.load(GOLDEN / "golden.npz")
        tokenizer, model = (CLASSES[name].from_pretrained(GOLDEN / name) for name in ("tokenizer", "model"))
        with torch.no_grad():
            s1, s2 = tokenizer.encode(torch.from_numpy(golden["context"]).float()[None])
            hidden = model.hidden(s1, s2, torch.from_numpy(golden["stamp_context"])[None])
            logits = model.s1_logits(hidden)[0]
        assert np.array_equal(s1[0], golden["s1"])
        assert np.array_equal(s2[0], golden["s2"])
        np.testing.assert_allclose(logits, golden["s1_logits"], rtol=1e-4, atol=1e-5)

    @both
    def test_every_tensor_of_the_file_by_its_name(self, name: str) -> None:
        model = CLASSES[name].from_pretrained(str(GOLDEN / name))
        stored = load_file(GOLDEN / name / "model.safetensors")
        state = model.state_dict()
        assert state.keys() == stored.keys()
        for key, tensor in stored.items():
            torch.testing.assert_close(state[key], tensor, rtol=1e-6, atol=0)

    @both
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    def test_what_follows_the_dtype_and_what_stays_exact(self, name: str, dtype: torch.dtype) -> None:
        cls = CLASSES[name]
        model, made = (
            cls.from_pretrained(GOLDEN / name, dtype=dtype),
            cls(cls.from_pretrained(GOLDEN / name).config),
        )
        assert not model.training
        assert {p.dtype for p in model.parameters()} == {dtype}
        assert all(p.requires_grad for p in model.parameters())
        kept, buffers = model.state_dict(), dict(model.named_buffers())
        for key, buffer in made.named_buffers():
            expected = buffer if key in kept else buffer.to(dtype)
            assert torch.equal(buffers[key], expected)
            assert buffers[key].dtype == expected.dtype

    def test_neither_draws_random_numbers_nor_fixes_the_next_model(self) -> None:
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        model = Kronos.from_pretrained(GOLDEN / "model")
        assert torch.equal(torch.rand(3), expected)
        assert Kronos(model.config).head.proj_s1.weight.std() > 0

    def test_a_fixed_time_embedding_stays_frozen(self, tmp_path: Path) -> None:
        made = Kronos(KronosConfig(3, 4, 1, 16, 2, 24, learn_te=False))
        made.save_pretrained(tmp_path)
        model = Kronos.from_pretrained(tmp_path)
        assert not model.time_emb.day_embed.emb.weight.requires_grad
        assert torch.equal(model.time_emb.day_embed.emb.weight, made.time_emb.day_embed.emb.weight)

    def test_training_a_loaded_model_leaves_its_file_alone(self, folder: Path) -> None:
        before = fingerprint(folder)
        model = Kronos.from_pretrained(folder)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        assert fingerprint(folder) == before

    def test_a_file_overwritten_in_place_leaves_the_loaded_model_alone(self, folder: Path) -> None:
        model, before = Kronos.from_pretrained(folder), load_file(GOLDEN / "model" / "model.safetensors")
        with (folder / "model.safetensors").open("rb+") as file:
            file.write(bytes((folder / "model.safetensors").stat().st_size))
        for key, parameter in model.named_parameters():
            assert torch.equal(parameter, before[key])

    def test_a_relative_path_is_a_folder(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "within").mkdir()
        monkeypatch.chdir(folder / "within")
        assert Kronos.from_pretrained("../../model").config.d_model == 48

    def test_keys_that_other_libraries_add_are_passed_over(self, folder: Path) -> None:
        change_config(folder, lambda c: c.update(model_type="kronos", architectures=["Kronos"]))
        assert Kronos.from_pretrained(folder).config.d_model == 48


class TestSaving:
    @both
    def test_round_trip(self, name: str, tmp_path: Path) -> None:
        CLASSES[name].from_pretrained(GOLDEN / name).save_pretrained(tmp_path / "new" / "folder")
        assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(FILES)
        old, new = (
            json.loads((f / "config.json").read_text()) for f in (GOLDEN / name, tmp_path / "new" / "folder")
        )
        assert new == old
        old, new = (load_file(f / "model.safetensors") for f in (GOLDEN / name, tmp_path / "new" / "folder"))
        assert new.keys() == old.keys()
        for key in old:
            assert new[key].dtype == old[key].dtype
            torch.testing.assert_close(new[key], old[key], rtol=1e-6, atol=0)

    @both
    def test_in_bfloat16(self, name: str, tmp_path: Path) -> None:
        model = CLASSES[name].from_pretrained(GOLDEN / name)
        model.save_pretrained(tmp_path, torch.bfloat16)
        stored = load_file(tmp_path / "model.safetensors")
        assert {stored[key].dtype for key, _ in model.named_parameters()} == {torch.bfloat16}
        assert {stored[key].dtype for key in stored if key.endswith("basis")} <= {torch.int64}
        assert {stored[key].dtype for key in stored if key.endswith("inv_freq")} == {torch.float32}
        again = CLASSES[name].from_pretrained(tmp_path)
        for key, parameter in again.named_parameters():
            assert torch.equal(parameter, model.get_parameter(key).bfloat16().float())

    def test_over_the_folder_it_came_from(self, folder: Path) -> None:
        model = Kronos.from_pretrained(folder)
        with torch.no_grad():
            model.norm.weight.fill_(2.0)
        model.save_pretrained(folder)
        assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
        again = Kronos.from_pretrained(folder)
        assert torch.equal(again.norm.weight, torch.full((48,), 2.0))
        assert torch.equal(again.head.proj_s1.weight, model.head.proj_s1.weight)

    def test_the_same_model_gives_the_same_files(self, folder: Path, tmp_path: Path) -> None:
        for name in ("a", "b"):
            Kronos.from_pretrained(folder).save_pretrained(tmp_path / name)
        assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b")

    def test_a_failure_leaves_the_old_files(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before, model = fingerprint(folder), Kronos.from_pretrained(folder)

        def full(handle: int) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="space"):
            model.save_pretrained(folder)
        assert fingerprint(folder) == before
        assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)


class TestFingerprint:
    def test_as_sha256sum_has_it(self) -> None:
        if not shutil.which("sha256sum"):
            pytest.skip("needs sha256sum")
        lines = subprocess.run(["sha256sum", *FILES], cwd=GOLDEN / "model", capture_output=True, check=True).stdout
        assert fingerprint(GOLDEN / "model") == hashlib.sha256(lines).hexdigest()

    @pytest.mark.parametrize("name", FILES)
    def test_of_other_files_is_refused(self, folder: Path, name: str) -> None:
        expected = fingerprint(folder)
        Kronos.from_pretrained(folder, sha256=expected.upper())
        with (folder / name).open("ab") as file:
            file.write(b" ")
        assert expected in refusal(folder, sha256=expected)


class TestWrongFolder:
    def test_missing(self, tmp_path: Path) -> None:
        assert "there is no folder" in refusal(tmp_path / "none")

    def test_of_a_revision(self, folder: Path) -> None:
        assert "revision" in refusal(folder, revision="main")

    def test_a_file(self, folder: Path) -> None:
        assert "give the folder" in refusal(folder / "model.safetensors")

    @pytest.mark.parametrize("name", FILES)
    def test_without_a_file(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        assert name in refusal(folder)

    @pytest.mark.parametrize("name", FILES)
    def test_that_holds_a_folder_instead(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()
        assert name in refusal(folder)

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt"])
    def test_with_pickled_weights_only(self, folder: Path, name: str) -> None:
        (folder / "model.safetensors").rename(folder / name)
        message = refusal(folder)
        assert name in message
        assert "run code" in message
        assert "safetensors.torch.save_file" in message


class TestWrongConfig:
    @pytest.mark.parametrize(
        "text", ["", "{", "[1]", "null", "\xff", "[" * 100_000, '{"d_model": ' + "9" * 5000 + "}"]
    )
    def test_not_json(self, folder: Path, text: str) -> None:
        (folder / "config.json").write_text(text, encoding="latin-1")
        assert "is not a JSON object" in refusal(folder)

    def test_missing_and_unknown_keys_are_named(self, folder: Path) -> None:
        change_config(folder, lambda c: c.update(heads=c.pop("n_heads"), width=c.pop("d_model")))
        message = refusal(folder)
        assert "lacks d_model, n_heads" in message
        assert "unknown keys: heads, width" in message

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("d_model", "48"),
            ("d_model", 48.0),
            ("d_model", None),
            ("d_model", 10**9),
            ("n_layers", 0),
            ("n_layers", True),
            ("n_layers", 10**6),
            ("s1_bits", -1),
            ("s1_bits", 40),
            ("learn_te", 1),
            ("ffn_dropout_p", float("nan")),
            ("ffn_dropout_p", -0.1),
            ("ffn_dropout_p", 1.5),
            ("ffn_dropout_p", 10**400),
            ("ffn_dropout_p", False),
        ],
    )
    def test_a_value_that_cannot_be(self, folder: Path, key: str, value: object) -> None:
        change_config(folder, lambda c: c.update({key: value}))
        assert f"{key} must be" in refusal(folder)

    def test_heads_that_do_not_divide_the_width(self, folder: Path) -> None:
        change_config(folder, lambda c: c.update(n_heads=5))
        message = refusal(folder)
        assert "config.json" in message
        assert "5 heads" in message

    @both
    def test_of_the_other_kind(self, name: str) -> None:
        message = refusal(GOLDEN / name, {"model": "tokenizer", "tokenizer": "model"}[name])
        assert f"is the config of a {CLASSES[name].__name__}" in message

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"n_layers": 2}, "transformer.2."),
            ({"n_layers": 4}, "lacks transformer.3."),
            ({"ff_dim": 97}, "[96, 48] instead of [97, 48]"),
            ({"learn_te": False}, "time_emb.minute_embed.emb.weight"),
            ({"s1_bits": 6}, "embedding.emb_s1.weight is [32, 48] instead of [64, 48]"),
        ],
    )
    def test_that_the_weights_do_not_fit(self, folder: Path, change: dict[str, Any], said: str) -> None:
        change_config(folder, lambda c: c.update(change))
        message = refusal(folder)
        assert said in message
        assert len(message) < 700 + len(str(folder))


class TestWrongWeights:
    def test_of_the_other_kind(self, folder: Path) -> None:
        shutil.copy(GOLDEN / "tokenizer" / "model.safetensors", folder)
        message = refusal(folder)
        assert "lacks embedding.emb_s1.weight" in message
        assert "holds decoder.0." in message

    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_pickle_under_another_name(self, folder: Path, zipped: bool) -> None:
        if zipped:
            torch.save({"model": torch.ones(3)}, folder / "model.safetensors")
        else:
            (folder / "model.safetensors").write_bytes(pickle.dumps({"model": [1, 2, 3]}))
        assert "pickle" in refusal(folder)

    def test_a_git_lfs_pointer(self, folder: Path) -> None:
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
        (folder / "model.safetensors").write_text(pointer)
        assert "git lfs pull" in refusal(folder)

    def test_one_too_many_and_one_too_few(self, folder: Path) -> None:
        change_tensors(folder, lambda t: t.update(more=t.pop("norm.weight")))
        message = refusal(folder)
        assert "lacks norm.weight" in message
        assert "holds more" in message

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_not_finite(self, folder: Path, value: float) -> None:
        change_tensors(folder, lambda t: t["transformer.1.ffn.w2.weight"][3, 4:6].fill_(value))
        message = refusal(folder)
        assert "transformer.1.ffn.w2.weight" in message
        assert "not finite" in message

    def test_too_large_for_the_dtype(self, folder: Path) -> None:
        change_tensors(folder, lambda t: t["norm.weight"].fill_(1e6))
        Kronos.from_pretrained(folder)
        assert "not finite in torch.float16" in refusal(folder, dtype=torch.float16)

    def test_whole_numbers_in_place_of_weights(self, folder: Path) -> None:
        change_tensors(folder, lambda t: t.update({"norm.weight": t["norm.weight"].to(torch.int8)}))
        assert "norm.weight is stored as I8" in refusal(folder)

    def test_other_frequencies_than_the_code_computes(self, folder: Path) -> None:
        change_tensors(folder, lambda t: t["transformer.0.self_attn.rotary.inv_freq"].mul_(1.1))
        assert "transformer.0.self_attn.rotary.inv_freq" in refusal(folder)

    @given(st.data())
    def test_cut_anywhere(self, data: st.DataObject) -> None:
        whole = (GOLDEN / "model" / "model.safetensors").read_bytes()
        header = 8 + int.from_bytes(whole[:8], "little")
        cut = data.draw(st.integers(0, header) | st.integers(0, len(whole) - 1))
        with spoilt(whole[:cut]) as folder:
            assert "cut short or damaged" in refusal(folder)

    @given(st.data())
    def test_any_damage_to_the_header_loads_or_is_refused(self, data: st.DataObject) -> None:
        damaged = bytearray((GOLDEN / "model" / "model.safetensors").read_bytes())
        header = 8 + int.from_bytes(damaged[:8], "little")
        damaged[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
        with spoilt(bytes(damaged)) as folder, suppress(WeightsError):
            Kronos.from_pretrained(folder)

    def test_nothing_of_a_header_is_trusted_for_its_size(self, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
        assert "cut short or damaged" in refusal(folder)
