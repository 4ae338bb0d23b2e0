"""Which checkpoints are trusted, and the reason of each refusal. ``pytest tests/unit/checkpoints/test_integrity.py``"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.checkpoint_files import (
    FOREIGN_STEPS,
    copy_foreign,
    flip_byte,
    optimizer_state,
    rewrite_pickle,
    write_ours,
)
from tinyworlds_gate.checkpoints.integrity import sha256_of, verify_checkpoint
from tinyworlds_gate.checkpoints.read import read_model_state, read_state
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.errors import CheckpointError


def edit_manifest(folder: Path, **changes: Any) -> None:
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def save_listed(folder: Path, name: str, content: object) -> None:
    """Replace a file of a checkpoint of ours and list it in the manifest with its new size and SHA-256."""
    torch.save(content, folder / name)
    files = json.loads((folder / "manifest.json").read_text())["files"]
    files[name] |= {"size": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
    edit_manifest(folder, files=files)


def save_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = read_model_state(folder, mmap=False)
    edit(weights)
    torch.save(weights, folder / "model_state_dict.pt")


def truncate(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


def with_nan(weights: dict[str, torch.Tensor]) -> None:
    weights["output_mlp.weight"][3, 4] = float("nan")


def with_infinity(weights: dict[str, torch.Tensor]) -> None:
    weights["output_mlp.bias"][0] = float("inf")


FAULTS_WITHOUT_MANIFEST: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty state": (lambda f: torch.save({}, f / "model_state_dict.pt"), "holds no tensors: an empty state dictionary"),
    "integers only": (
        lambda f: torch.save({"n": torch.ones(2, dtype=torch.int64)}, f / "model_state_dict.pt"),
        "1 tensors and no parameter",
    ),
    "900 bytes": (lambda f: truncate(f / "model_state_dict.pt", 900), r"no whole torch file \(900 bytes\)"),
    "truncated model": (
        lambda f: truncate(f / "model_state_dict.pt", 200_000),
        "model_state_dict.pt is no whole torch",
    ),
    "truncated state": (lambda f: truncate(f / "state.pt", 1000), "state.pt is no whole torch"),
    "truncated optimizer": (
        lambda f: truncate(f / "optim_state_dict.pt", 1000),
        "optim_state_dict.pt is no whole torch",
    ),
    "no model": (lambda f: (f / "model_state_dict.pt").unlink(), "has no model_state_dict.pt"),
    "no state": (lambda f: (f / "state.pt").unlink(), "has no state.pt"),
    "no optimizer": (lambda f: (f / "optim_state_dict.pt").unlink(), "has no optim_state_dict.pt"),
    "empty optimizer": (lambda f: torch.save({}, f / "optim_state_dict.pt"), "holds no optimizer state"),
    "optimizer without steps": (
        lambda f: torch.save({**optimizer_state(), "state": {}}, f / "optim_state_dict.pt"),
        "holds no optimizer state",
    ),
    "optimizer without groups": (
        lambda f: torch.save({**optimizer_state(), "param_groups": []}, f / "optim_state_dict.pt"),
        "holds no optimizer state",
    ),
    "NaN weights": (lambda f: save_weights(f, with_nan), "output_mlp.weight has 1 values that are not finite"),
    "infinite weights": (lambda f: save_weights(f, with_infinity), "output_mlp.bias has 1 values that are not finite"),
    "a bit flip": (lambda f: flip_byte(f / "model_state_dict.pt", 300_000), "the checksum of .* does not hold"),
    "no step": (lambda f: torch.save({"config": {}}, f / "state.pt"), "records no step"),
    "another step": (lambda f: torch.save({"step": 5}, f / "state.pt"), "is of step 5, but the folder's name says 899"),
}


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("fault", FAULTS_WITHOUT_MANIFEST)
def test_a_tinyworlds_checkpoint_with_a_fault_is_refused_with_its_own_reason(fault: str, tmp_path: Path) -> None:
    folder = copy_foreign(tmp_path, "dynamics")
    assert verify_checkpoint(folder).step == 899, "the copy is whole before the fault"
    inject, reason = FAULTS_WITHOUT_MANIFEST[fault]
    inject(folder)
    with pytest.raises(CheckpointError, match=reason):
        verify_checkpoint(folder)


@pytest.mark.parametrize(
    ("stage", "parameters"), [("video_tokenizer", 138821), ("latent_actions", 143699), ("dynamics", 104301)]
)
def test_a_whole_tinyworlds_checkpoint_verifies_by_loading(stage: str, parameters: int, tmp_path: Path) -> None:
    ref = verify_checkpoint(copy_foreign(tmp_path, stage), expected_stage=stage, expected_step=FOREIGN_STEPS[stage])
    assert (ref.stage, ref.step, ref.parameters, ref.manifest) == (stage, FOREIGN_STEPS[stage], parameters, None)
    assert len(ref.model_sha256) == 64


@pytest.mark.parametrize("file", ["model_state_dict.pt", "optim_state_dict.pt", "state.pt"])
@pytest.mark.parametrize("where", [0.1, 0.5, 0.99])
def test_any_changed_byte_of_ours_breaks_the_recorded_hash(file: str, where: float, tmp_path: Path) -> None:
    folder = write_ours(tmp_path, "dynamics", 5).path
    flip_byte(folder / file, int(where * (folder / file).stat().st_size))
    with pytest.raises(CheckpointError, match=rf"{file} does not have the SHA-256"):
        verify_checkpoint(folder)


FAULTS_WITH_MANIFEST: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (lambda f: truncate(f / "model_state_dict.pt", 900), r"has 900 bytes; manifest.json says \d+"),
    "manifest torn": (lambda f: truncate(f / "manifest.json", 100), "manifest.json cannot be read"),
    "manifest gone": (lambda f: (f / "manifest.json").unlink(), "was written with a manifest.json, which is gone"),
    "manifest a list": (lambda f: (f / "manifest.json").write_text("[]"), "has no valid 'schema'"),
    "future schema": (lambda f: edit_manifest(f, schema=2), "has schema 2; this version reads schema 1"),
    "no files": (lambda f: edit_manifest(f, files=None), "has no valid 'files'"),
    "model not listed": (lambda f: edit_manifest(f, files={}), "does not list model_state_dict.pt"),
    "entry without hash": (
        lambda f: edit_manifest(f, files={"model_state_dict.pt": {}}),
        "has no sha256 and size of model_state_dict.pt",
    ),
    **{
        f"entry {entry!r}": (
            partial(edit_manifest, files={"model_state_dict.pt": entry}),
            "has no sha256 and size of model_state_dict.pt",
        )
        for entry in (
            *("a" * 64, ["sha256", "size"], 5, None),
            *({"sha256": "a" * 64}, {"sha256": 5, "size": 5}, {"sha256": "a" * 64, "size": "5"}),
            {"sha256": "a" * 64, "size": True},
        )
    },
    "parameters": (lambda f: edit_manifest(f, parameters=3), "has 104301 parameters; manifest.json says 3"),
    "no optimizer": (lambda f: (f / "optim_state_dict.pt").unlink(), "has no optim_state_dict.pt"),
    "replaced by another's": (
        lambda f: shutil.copy(copy_foreign(f.parent, "dynamics") / "model_state_dict.pt", f),
        r"has \d+ bytes; manifest.json says|does not have the SHA-256",
    ),
    "longer": (
        lambda f: (f / "state.pt").write_bytes((f / "state.pt").read_bytes() + b"x"),
        r"state.pt has \d+ bytes; manifest.json says",
    ),
    "another step in a listed state": (
        lambda f: save_listed(f, "state.pt", read_state(f) | {"step": 7}),
        "state.pt is of step 7, but the folder's name says 5",
    ),
    "no step in a listed state": (lambda f: save_listed(f, "state.pt", {"config": {}}), "state.pt records no step"),
    "a step that is true": (lambda f: save_listed(f, "state.pt", {"step": True}), "records no step .found True"),
    "manifest of another stage": (
        lambda f: edit_manifest(f, stage="latent_actions"),
        "its manifest.json says latent_actions step 5",
    ),
}


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("fault", FAULTS_WITH_MANIFEST)
def test_a_checkpoint_of_ours_with_a_fault_is_refused_with_its_own_reason(fault: str, tmp_path: Path) -> None:
    ref = write_ours(tmp_path, "dynamics", 5)
    assert verify_checkpoint(ref.path) == ref
    inject, reason = FAULTS_WITH_MANIFEST[fault]
    inject(ref.path)
    with pytest.raises(CheckpointError, match=reason):
        verify_checkpoint(ref.path)


def test_nan_weights_of_ours_are_refused_though_their_hash_holds(tmp_path: Path) -> None:
    weights = {"output_mlp.weight": torch.tensor([1.0, float("nan")])}
    ref = write_checkpoint(tmp_path, "dynamics", 5, model_state=weights, optim_state=optimizer_state(), state={})
    with pytest.raises(CheckpointError, match=r"not finite .* training diverged"):
        verify_checkpoint(ref.path)


@pytest.mark.parametrize("ours", [True, False])
def test_a_folder_renamed_to_another_step_is_refused(ours: bool, tmp_path: Path) -> None:
    folder = write_ours(tmp_path, "dynamics", 5).path if ours else copy_foreign(tmp_path, "dynamics")
    renamed = folder.rename(tmp_path / "dynamics_step_6")
    with pytest.raises(
        CheckpointError, match="renamed or swapped" if ours else "is of step 899, but the folder's name"
    ):
        verify_checkpoint(renamed)


@pytest.mark.parametrize("ours", [True, False])
def test_a_folder_swapped_with_another_stage_is_refused(ours: bool, tmp_path: Path) -> None:
    folder = write_ours(tmp_path, "latent_actions", 5).path if ours else copy_foreign(tmp_path, "latent_actions")
    step = folder.name.rpartition("_")[2]
    renamed = folder.rename(tmp_path / f"dynamics_step_{step}")
    with pytest.raises(CheckpointError, match="swapped"):
        verify_checkpoint(renamed)


def test_the_expected_stage_and_step_are_checked(tmp_path: Path) -> None:
    folder = write_ours(tmp_path, "dynamics", 5).path
    with pytest.raises(CheckpointError, match="is a checkpoint of dynamics; a checkpoint of latent_actions is needed"):
        verify_checkpoint(folder, expected_stage="latent_actions")
    with pytest.raises(CheckpointError, match="is of step 5; step 9 is needed"):
        verify_checkpoint(folder, expected_step=9)


def test_a_folder_that_is_no_checkpoint_or_absent_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no checkpoint folder; allowed: <stage>_step_<n>"):
        verify_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        verify_checkpoint(tmp_path / "dynamics_step_1")


def test_a_checkpoint_without_optimizer_verifies_for_inference(tmp_path: Path) -> None:
    foreign = copy_foreign(tmp_path, "dynamics", optimizer=False)
    assert verify_checkpoint(foreign, require_optimizer=False).step == 899
    ours = write_ours(tmp_path, "dynamics", 5)
    (ours.path / "optim_state_dict.pt").unlink()
    assert verify_checkpoint(ours.path, require_optimizer=False) == ours


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("require_optimizer", [True, False])
@pytest.mark.parametrize("name", ["model_state_dict.pt", "state.pt", "optim_state_dict.pt"])
def test_a_file_that_the_manifest_does_not_list_is_refused_where_it_is_needed(
    name: str, require_optimizer: bool, tmp_path: Path
) -> None:
    ref = write_ours(tmp_path, "dynamics", 5)
    files = json.loads((ref.path / "manifest.json").read_text())["files"]
    edit_manifest(ref.path, files={listed: entry for listed, entry in files.items() if listed != name})
    if name == "optim_state_dict.pt" and not require_optimizer:
        assert verify_checkpoint(ref.path, require_optimizer=False).model_sha256 == ref.model_sha256
        return
    with pytest.raises(CheckpointError, match=f"does not list {name}; only listed files are trusted"):
        verify_checkpoint(ref.path, require_optimizer=require_optimizer)


def test_the_hash_of_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    for file, reason in ((tmp_path / "absent", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(CheckpointError) as error:
            sha256_of(file)
        assert str(error.value) == f"{file} {reason}; its SHA-256 cannot be computed"


def test_a_hostile_state_makes_a_checkpoint_invalid_and_runs_nothing(tmp_path: Path) -> None:
    folder = copy_foreign(tmp_path, "dynamics")
    mark = tmp_path / "executed"
    call = f"cos\nsystem\n(X{chr(len(f'touch {mark}'))}\0\0\0touch {mark}tR."
    rewrite_pickle(folder / "state.pt", lambda _: b"\x80\x02" + call.encode("latin1"))
    with pytest.raises(CheckpointError, match=r"names os\.system"):
        verify_checkpoint(folder)
    assert not mark.exists()


def test_the_state_read_back_names_the_step(tmp_path: Path) -> None:
    assert read_state(write_ours(tmp_path, "dynamics", 5).path)["step"] == 5
