"""Conformance: the golden files pass, and faults of a file or an installation are reported.

Run: pytest tests/unit/reference/test_conformance.py
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.helpers.small_models import GOLDEN, GOLDEN_FILES
from tinyworlds_gate.cli import conformance as command
from tinyworlds_gate.errors import CheckpointError, ConfigError, DataError
from tinyworlds_gate.reference import conformance

LOWVAR = GOLDEN / "lowvar_32px_patch8.safetensors"


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture
def altered(tmp_path: Path) -> Callable[[Callable[[dict[str, Tensor]], None]], Path]:
    """Write a modified copy of a golden file and its JSON file."""

    def write(change: Callable[[dict[str, Tensor]], None]) -> Path:
        tensors = load_file(LOWVAR)
        change(tensors)
        copy = tmp_path / LOWVAR.name
        save_file(tensors, copy)
        shutil.copy(LOWVAR.with_suffix(".json"), copy.with_suffix(".json"))
        return copy

    return write


def test_the_three_golden_files_are_here() -> None:
    assert [path.stem for path in GOLDEN_FILES] == ["lowvar_32px_patch8", "tiny_32px_patch4", "wide_64px_patch8"]


@pytest.mark.parametrize("path", GOLDEN_FILES, ids=lambda path: path.stem)
def test_every_golden_output_and_gradient_holds(path: Path) -> None:
    results = conformance.compare(path)
    in_the_file = {name for name in load_file(path) if name.startswith(("out.", "grad."))}
    assert {result.name for result in results} == in_the_file
    assert len(in_the_file) > 170
    assert [result for result in results if not result.ok] == []


def test_indices_actions_and_decoded_latents_must_be_equal() -> None:
    exact = {result.name for result in conformance.compare(LOWVAR) if result.tolerance == 0}
    assert exact == {
        "out.tokenizer.indices",
        "out.lam.indices",
        "out.lam.actions",
        "out.dynamics.rollout_latents",
    }


def test_tolerances_are_those_of_the_golden_readme() -> None:
    golden = load_file(LOWVAR)
    tolerances = {result.name: result.tolerance for result in conformance.compare(LOWVAR)}
    logits, gradient = golden["out.dynamics.logits"], golden["grad.dynamics.output_mlp.weight"]
    assert tolerances["out.dynamics.logits"] == pytest.approx(1e-4 * logits.abs().max().item())
    assert tolerances["out.lam.pred_frames_eval"] == pytest.approx(1e-4)
    assert tolerances["grad.dynamics.output_mlp.weight"] == pytest.approx(1e-4 * gradient.abs().max().item() + 1e-6)


def test_the_command_prints_each_tensor_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(parsed(str(LOWVAR))) == 0
    printed = capsys.readouterr().out
    assert "177 of 177 tensors hold on cpu" in printed
    assert all(result.name in printed for result in conformance.compare(LOWVAR))


@pytest.mark.parametrize(
    "weight",
    [
        "video_tokenizer.encoder.latent_head.1.weight",
        "latent_actions.decoder.frame_head.1.bias",
        "dynamics.transformer.blocks.0.ffn.norm.to_gamma_beta.1.weight",
    ],
)
def test_a_perturbed_weight_exits_1_and_names_what_differs(
    altered: Callable[[Callable[[dict[str, Tensor]], None]], Path], capsys: pytest.CaptureFixture[str], weight: str
) -> None:
    def perturb(tensors: dict[str, Tensor]) -> None:
        tensors[f"weights.{weight}"] += 0.01

    assert command.run(parsed(str(altered(perturb)))) == 1
    assert "differing: " in capsys.readouterr().out


def test_one_bad_file_among_good_ones_exits_1(altered: Callable[[Callable[[dict[str, Tensor]], None]], Path]) -> None:
    def perturb(tensors: dict[str, Tensor]) -> None:
        tensors["out.tokenizer.recon"][0, 0, 0, 0, 0] += 0.1

    assert command.run(parsed(str(altered(perturb)), str(LOWVAR))) == 1


def test_a_nan_never_holds(altered: Callable[[Callable[[dict[str, Tensor]], None]], Path]) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors["out.lam.prequant"][0, 0, 0] = float("nan")

    assert [result.name for result in conformance.compare(altered(spoil)) if not result.ok] == ["out.lam.prequant"]


def test_a_gradient_on_one_side_only_differs(
    altered: Callable[[Callable[[dict[str, Tensor]], None]], Path],
) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        del tensors["grad.dynamics.mask_token"]
        tensors["grad.dynamics.no_such_parameter"] = torch.zeros(1)

    differing = {result.name for result in conformance.compare(altered(change)) if not result.ok}
    assert differing == {"grad.dynamics.mask_token", "grad.dynamics.no_such_parameter"}


def test_an_output_of_another_shape_differs(altered: Callable[[Callable[[dict[str, Tensor]], None]], Path]) -> None:
    def crop(tensors: dict[str, Tensor]) -> None:
        tensors["out.dynamics.logits"] = tensors["out.dynamics.logits"][:, :3].contiguous()

    assert [result.name for result in conformance.compare(altered(crop)) if not result.ok] == ["out.dynamics.logits"]


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("out.dynamics.surprise", torch.zeros(1), r"holds out\.dynamics\.surprise, which this version cannot compute"),
        ("notes.first", torch.zeros(1), r"holds notes\.first; names must begin with"),
        ("weights.critic.bias", torch.zeros(1), r"holds weights\.critic\.bias; the models are video_tokenizer"),
        ("in.frames", torch.zeros(4, 4, 3, 16, 16), r"in\.frames has shape \[4, 4, 3, 16, 16\]; .* require"),
        ("in.frames", torch.zeros(4, 4), r"lacks the input in\.frames \[batch"),
    ],
)
def test_a_tensor_that_does_not_belong_is_named(
    altered: Callable[[Callable[[dict[str, Tensor]], None]], Path], name: str, tensor: Tensor, message: str
) -> None:
    path = altered(lambda tensors: tensors.update({name: tensor}))
    with pytest.raises(DataError, match=message):
        conformance.compare(path)


@pytest.mark.parametrize("name", ["in.frames", "in.rollout.context_latents", "out.tokenizer.indices"])
def test_a_missing_input_is_named(altered: Callable[[Callable[[dict[str, Tensor]], None]], Path], name: str) -> None:
    def drop(tensors: dict[str, Tensor]) -> None:
        del tensors[name]

    with pytest.raises(DataError, match=f"lacks the input {name}"):
        conformance.compare(altered(drop))


def test_a_missing_weight_is_named(altered: Callable[[Callable[[dict[str, Tensor]], None]], Path]) -> None:
    def drop(tensors: dict[str, Tensor]) -> None:
        del tensors["weights.dynamics.mask_token"]

    with pytest.raises(CheckpointError, match=r"1 missing \(mask_token\)"):
        conformance.compare(altered(drop))


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.safetensors does not exist"):
        conformance.compare(tmp_path / "none.safetensors")


def test_a_missing_json_is_reported(tmp_path: Path) -> None:
    shutil.copy(LOWVAR, tmp_path)
    with pytest.raises(DataError, match=r"needs lowvar_32px_patch8\.json with the model"):
        conformance.compare(tmp_path / LOWVAR.name)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", DataError, "is not valid JSON"),
        ("[]", DataError, "must hold a JSON object"),
        ('{"decode_steps": 4}', DataError, "has prediction_horizon = None"),
        ('{"decode_steps": 4, "prediction_horizon": 1}', ConfigError, "sizes lack frame_size"),
    ],
)
def test_a_json_that_does_not_serve_is_reported(
    tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    shutil.copy(LOWVAR, tmp_path)
    (tmp_path / "lowvar_32px_patch8.json").write_text(text)
    with pytest.raises(error, match=message):
        conformance.compare(tmp_path / LOWVAR.name)


def test_sizes_of_another_model_are_reported(altered: Callable[[Callable[[dict[str, Tensor]], None]], Path]) -> None:
    path = altered(lambda tensors: None)
    settings = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**settings, "hidden_dim": 96}))
    with pytest.raises(CheckpointError, match=r"of another shape \(.*instead of"):
        conformance.compare(path)


def test_a_truncated_file_is_reported(altered: Callable[[Callable[[dict[str, Tensor]], None]], Path]) -> None:
    path = altered(lambda tensors: None)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(DataError, match="is not a complete safetensors file"):
        conformance.compare(path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the refusal shows only where there is no NVIDIA GPU")
def test_cuda_without_a_gpu_is_reported() -> None:
    with pytest.raises(ConfigError, match="--device cuda needs an NVIDIA GPU"):
        conformance.compare(LOWVAR, device="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU, found 0")
@pytest.mark.parametrize("path", GOLDEN_FILES, ids=lambda path: path.stem)
def test_every_golden_tensor_holds_on_the_gpu(path: Path) -> None:
    assert [result for result in conformance.compare(path, device="cuda") if not result.ok] == []
