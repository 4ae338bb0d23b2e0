"""Names of checkpoint folders, and which entries of a folder are some.

pytest tests/unit/checkpoints/test_layout.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyworlds_gate.checkpoints.layout import (
    CheckpointRef,
    check_stage,
    checkpoint_event,
    folder_name,
    list_checkpoints,
    other_stages_in,
    parse_folder_name,
)
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.layout import RunLayout


def test_a_name_is_made_of_a_stage_and_a_step_and_read_back() -> None:
    for stage in STAGES:
        assert check_stage(stage) == stage
        for step in (0, 1, 10**18 - 1):
            assert parse_folder_name(folder_name(stage, step)) == (stage, step)
    assert parse_folder_name(f"dynamics_step_{10**18}") is None
    with pytest.raises(CheckpointError, match="steps are 0-based updates, 0 or more"):
        folder_name("dynamics", -1)
    unknown = "^unknown stage 'x'; allowed: video_tokenizer, latent_actions, dynamics$"
    for call in (check_stage, lambda stage: folder_name(stage, 1), lambda stage: list_checkpoints(Path(), stage)):
        with pytest.raises(CheckpointError, match=unknown):
            call("x")
    with pytest.raises(CheckpointError, match=unknown):
        other_stages_in(Path(), "x")


def test_a_folder_s_checkpoints_are_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for name in ("dynamics_step_10", "dynamics_step_9", "latent_actions_step_1", "dynamics_step_x", ".dynamics_step_1"):
        (tmp_path / name).mkdir()
    (tmp_path / "dynamics_step_11").touch()
    (tmp_path / "dynamics_step_12").symlink_to(tmp_path / "dynamics_step_9")
    (tmp_path / "dynamics_step_13").symlink_to(tmp_path / "nowhere")
    assert [step for step, _ in list_checkpoints(tmp_path, "dynamics")] == [9, 10, 12]
    assert other_stages_in(tmp_path, "dynamics") == [("latent_actions", 1, tmp_path / "latent_actions_step_1")]
    assert list_checkpoints(tmp_path / "absent", "dynamics") == []
    with pytest.raises(
        CheckpointError, match=r"^cannot list .*dynamics_step_11: Not a directory; give a readable folder$"
    ):
        list_checkpoints(tmp_path / "dynamics_step_11", "dynamics")


def test_the_journal_has_a_checkpoint_by_its_path_in_the_project(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path, "a")
    ref = CheckpointRef("dynamics", 3, layout.checkpoint("dynamics", 3), "d" * 64, 5)
    assert checkpoint_event(layout, ref) == {
        **{"path": "results/a/dynamics/checkpoints/dynamics_step_3", "step": 3},
        **{"sha256": "d" * 64, "parameters": 5},
    }
    assert checkpoint_event(layout, None) is None
