"""Resolving what a user names and pruning old checkpoints. ``pytest tests/unit/checkpoints/test_resolve.py``"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.checkpoint_files import copy_foreign, flip_byte, names_in, write_ours
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.checkpoints.retention import Retention
from tinyworlds_gate.errors import CheckpointError


def test_a_parent_resolves_to_its_newest_valid_checkpoint_and_reports_what_it_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_ours(tmp_path, "dynamics", 1)
    taken = write_ours(tmp_path, "dynamics", 2)
    (copy_foreign(tmp_path, "dynamics", 99) / "state.pt").unlink()
    assert resolve_checkpoint(tmp_path, "dynamics") == taken
    (message,) = caplog.messages
    assert message.startswith(f"skipped {tmp_path / 'dynamics_step_99'}: ")
    assert "has no state.pt" in message


def test_a_step_folder_resolves_to_itself_though_a_newer_one_exists(tmp_path: Path) -> None:
    older, _ = write_ours(tmp_path, "dynamics", 1), write_ours(tmp_path, "dynamics", 2)
    assert resolve_checkpoint(older.path, "dynamics") == older


def test_a_checkpoint_without_optimizer_resolves_for_inference_only(tmp_path: Path) -> None:
    folder = copy_foreign(tmp_path, "dynamics", optimizer=False)
    assert resolve_checkpoint(folder, "dynamics", require_optimizer=False).step == 899
    with pytest.raises(CheckpointError, match=r"has no optim_state_dict\.pt"):
        resolve_checkpoint(folder, "dynamics")


def test_a_parent_without_a_valid_checkpoint_names_each_reason(tmp_path: Path) -> None:
    (tmp_path / "dynamics_step_1").mkdir()
    flip_byte(write_ours(tmp_path, "dynamics", 2).path / "state.pt", 300)
    with pytest.raises(
        CheckpointError, match=r"(?s)no valid checkpoint.*step_2: .*SHA-256.*step_1: .*no model_state_dict"
    ):
        resolve_checkpoint(tmp_path, "dynamics")


def prepare_nothing(folder: Path) -> Path:
    return folder / "absent"


def prepare_file(folder: Path) -> Path:
    (folder / "model.pt").touch()
    return folder / "model.pt"


def prepare_stage_folder(folder: Path) -> Path:
    (folder / "checkpoints" / "dynamics_step_3").mkdir(parents=True)
    return folder


def prepare_empty(folder: Path) -> Path:
    return folder


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (prepare_nothing, "it does not exist"),
        (prepare_file, "it is a file"),
        (prepare_stage_folder, "did you mean .*checkpoints"),
        (prepare_empty, "holds no dynamics_step_<n> folder"),
    ],
)
def test_a_path_that_is_neither_says_what_is_allowed(
    prepare: Callable[[Path], Path], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=rf"{reason}.*Allowed: a dynamics_step_<n> folder, or the checkpoints/"):
        resolve_checkpoint(prepare(tmp_path), "dynamics")


def test_a_checkpoint_of_another_stage_does_not_resolve(tmp_path: Path) -> None:
    other = write_ours(tmp_path, "latent_actions", 3)
    with pytest.raises(CheckpointError, match="of latent_actions; a checkpoint of dynamics is needed"):
        resolve_checkpoint(other.path, "dynamics")


def test_pruning_keeps_the_newest_and_the_protected(tmp_path: Path) -> None:
    refs = [write_ours(tmp_path, "dynamics", step) for step in range(5)]
    write_ours(tmp_path, "latent_actions", 0)
    removed = Retention(tmp_path, "dynamics", 2).prune([refs[1].path])
    assert removed == [refs[0].path, refs[2].path]
    assert names_in(tmp_path) == ["dynamics_step_1", "dynamics_step_3", "dynamics_step_4", "latent_actions_step_0"]


def test_pruning_removes_nothing_while_the_newest_does_not_verify(tmp_path: Path) -> None:
    refs = [write_ours(tmp_path, "dynamics", step) for step in range(3)]
    flip_byte(refs[-1].path / "model_state_dict.pt", 5000)
    assert Retention(tmp_path, "dynamics", 1).prune() == []
    assert len(names_in(tmp_path)) == 3


def test_an_invalid_checkpoint_does_not_count_as_kept(tmp_path: Path) -> None:
    refs = [write_ours(tmp_path, "dynamics", step) for step in range(4)]
    flip_byte(refs[2].path / "model_state_dict.pt", 5000)
    assert Retention(tmp_path, "dynamics", 2).prune() == [refs[0].path]
    assert verify_checkpoint(refs[1].path) == refs[1]


def test_pruning_finishes_a_removal_that_was_cut_short(tmp_path: Path) -> None:
    refs = [write_ours(tmp_path, "dynamics", step) for step in range(2)]
    (tmp_path / ".pruned-dynamics_step_0" / "rest").mkdir(parents=True)
    assert Retention(tmp_path, "dynamics", 1).prune() == [refs[0].path]
    assert names_in(tmp_path) == ["dynamics_step_1"]


def test_keeping_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="--keep-checkpoints 0: at least 1"):
        Retention(tmp_path, "dynamics", 0).prune()
