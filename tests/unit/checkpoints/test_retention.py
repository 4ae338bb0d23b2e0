"""Which checkpoints stay (--keep-checkpoints and the gated one). ``pytest tests/unit/checkpoints/test_retention.py``"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers.checkpoint_files import flip_byte, names_in, optimizer_state, write_ours
from tests.helpers.fake_stages import fake_project
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.retention import (
    Retention,
    gated_checkpoints,
    keep_gated,
    mark_gated,
)
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.loop.stage_controller import StageController

STAGE = "dynamics"


def bytes_read() -> int:
    """What this process has read through system calls."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


@pytest.mark.requirement("S4")
def test_what_a_gate_was_judged_on_is_never_pruned(tmp_path: Path) -> None:
    refs = [write_ours(tmp_path, STAGE, step) for step in range(6)]
    mark_gated(refs[1].path, "inference-1")
    mark_gated(refs[2].path, "stage")
    assert Retention(tmp_path, STAGE, 2).prune([refs[3].path]) == [refs[0].path]
    assert gated_checkpoints(tmp_path) == {"inference-1": refs[1].path, "stage": refs[2].path}


@pytest.mark.requirement("S4")
def test_a_gate_that_moves_on_frees_the_checkpoint_before(tmp_path: Path) -> None:
    refs = [write_ours(tmp_path, STAGE, step) for step in range(4)]
    mark_gated(refs[0].path, "stage")
    assert Retention(tmp_path, STAGE, 3).prune() == []
    mark_gated(refs[3].path, "stage")
    assert Retention(tmp_path, STAGE, 3).prune() == [refs[0].path]
    assert names_in(tmp_path) == [".gated-stage", *(ref.path.name for ref in refs[1:])]


def test_a_record_that_a_killed_writer_left_half_is_replaced(tmp_path: Path) -> None:
    ref = write_ours(tmp_path, STAGE, 3)
    (tmp_path / ".gated-stage.part").write_text("dynam")
    mark_gated(ref.path, "stage")
    assert gated_checkpoints(tmp_path) == {"stage": ref.path}
    assert names_in(tmp_path) == [".gated-stage", "dynamics_step_3"]


def test_nothing_is_pruned_while_a_record_cannot_be_read(tmp_path: Path) -> None:
    for step in range(3):
        write_ours(tmp_path, STAGE, step)
    (tmp_path / ".gated-stage").mkdir()
    with pytest.raises(CheckpointError, match=r"the gated checkpoints of .* are unknown .*; none is pruned"):
        Retention(tmp_path, STAGE, 1).prune()
    assert len(names_in(tmp_path)) == 4


@pytest.mark.parametrize(
    ("gate", "folder", "said"),
    [
        ("../stage", "dynamics_step_1", r"gate '\.\./stage': allowed are small letters"),
        ("", "dynamics_step_1", "gate ''"),
        ("stage", "checkpoints", "is no checkpoint folder; only a <stage>_step_<n> folder is gated"),
        ("stage", "absent/dynamics_step_1", "cannot be written: No such file or directory; without it dynamics_step_1"),
    ],
)
def test_a_gate_that_cannot_be_recorded_says_why(gate: str, folder: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=said):
        mark_gated(tmp_path / folder, gate)


def test_pruning_after_each_checkpoint_reads_each_of_them_once(tmp_path: Path) -> None:
    retention = Retention(tmp_path, STAGE, 2)
    sizes, read = [], []
    for step in range(6):
        weights = {"output_mlp.weight": torch.full((1000, 1000), float(step))}
        ref = write_checkpoint(tmp_path, STAGE, step, model_state=weights, optim_state=optimizer_state(), state={})
        sizes.append(sum(file.stat().st_size for file in ref.path.iterdir()))
        before = bytes_read()
        retention.prune()
        read.append(bytes_read() - before)
    assert read[:2] == pytest.approx([0, 0], abs=4096), "nothing to prune, nothing to read"
    assert read[2] < 2.1 * sizes[2], "the newest and the one before it, which was not read yet"
    assert max(read[3:]) < 1.1 * max(sizes), "the newest only"
    assert names_in(tmp_path) == ["dynamics_step_4", "dynamics_step_5"]


def rewrite(folder: Path) -> None:
    flip_byte(folder / "model_state_dict.pt", 5000)


def rewrite_with_the_old_time(folder: Path) -> None:
    file = folder / "model_state_dict.pt"
    stat = file.stat()
    data = bytearray(file.read_bytes())
    data[5000] ^= 0xFF
    file.unlink()
    file.write_bytes(data)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def remove_optimizer(folder: Path) -> None:
    (folder / "optim_state_dict.pt").unlink()


@pytest.mark.parametrize("damage", [rewrite, rewrite_with_the_old_time, remove_optimizer])
def test_a_checkpoint_that_was_damaged_since_it_was_verified_does_not_count_as_kept(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    retention = Retention(tmp_path, STAGE, 2)
    refs = [write_ours(tmp_path, STAGE, step) for step in range(3)]
    assert retention.prune() == [refs[0].path]
    damage(refs[2].path)
    refs.append(write_ours(tmp_path, STAGE, 3))
    assert retention.prune() == [], "step 3 and step 1 are the two valid ones"
    assert verify_checkpoint(refs[1].path) == refs[1]


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("damage", [rewrite, remove_optimizer])
def test_nothing_is_pruned_while_the_newest_checkpoint_is_invalid(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    refs = [write_ours(tmp_path, STAGE, step) for step in range(3)]
    damage(refs[2].path)
    for keep in (1, 2):
        assert Retention(tmp_path, STAGE, keep).prune() == []
    assert names_in(tmp_path) == [ref.path.name for ref in refs]


@pytest.mark.requirement("S4")
def test_as_many_as_are_kept_stay_and_links_are_not_counted(tmp_path: Path) -> None:
    refs = [write_ours(tmp_path, STAGE, step) for step in range(3)]
    (tmp_path / f"{STAGE}_step_9").symlink_to(refs[0].path)
    assert Retention(tmp_path, STAGE, 3).prune() == []
    assert Retention(tmp_path, STAGE, 1).prune() == [refs[0].path, refs[1].path]
    assert names_in(tmp_path) == [f"{STAGE}_step_2", f"{STAGE}_step_9"]
    with pytest.raises(CheckpointError, match="--keep-checkpoints 0: at least 1 checkpoint of a stage must be kept"):
        Retention(tmp_path, STAGE, 0)


def test_a_checkpoint_that_cannot_be_removed_is_an_error_with_its_reason(tmp_path: Path) -> None:
    refs = [write_ours(tmp_path, STAGE, step) for step in range(2)]
    (tmp_path / f".pruned-{STAGE}_step_0").write_text("a file in the way")
    with pytest.raises(CheckpointError) as error:
        Retention(tmp_path, STAGE, 1).prune()
    assert str(error.value) == f"old checkpoint {refs[0].path} cannot be removed: Not a directory"


def test_only_checkpoints_of_this_run_are_marked(tmp_path: Path) -> None:
    ours = write_ours(tmp_path / "run_1" / STAGE / "checkpoints", STAGE, 3)
    theirs = write_ours(tmp_path / "run_0" / "latent_actions" / "checkpoints", "latent_actions", 3)
    keep_gated([ours.path, theirs.path], "inference-1", run_root=tmp_path / "run_1")
    assert gated_checkpoints(ours.path.parent) == {"inference-1": ours.path}
    assert names_in(theirs.path.parent) == ["latent_actions_step_3"]


@pytest.mark.requirement("S4")
def test_each_stage_gate_holds_the_checkpoint_that_it_judged(tmp_path: Path) -> None:
    project = fake_project(tmp_path, "video_tokenizer", chunk=4, target=8)
    folder = project.context.layout.checkpoints("video_tokenizer")
    held: list[str] = []
    say = project.context.say

    def look(sentence: str) -> None:
        say(sentence)
        if ": gate S1 says" in sentence:
            held.append(gated_checkpoints(folder)["stage"].name)

    project.context.say = look
    assert StageController(project.context, "video_tokenizer", {}).train(8).verdict == "PASS"
    assert held == ["video_tokenizer_step_3", "video_tokenizer_step_7"]


@pytest.mark.requirement("S4")
def test_the_number_that_a_person_asks_for_reaches_the_stage(tmp_path: Path) -> None:
    project = fake_project(tmp_path, "video_tokenizer", chunk=4, target=4)
    context = project.context
    context.settings = resolve_settings(context.settings.config_dir, {"keep_checkpoints": 7}, project_root=tmp_path)
    result = StageController(context, "video_tokenizer", {}).train(4)
    assert result.verdict == "PASS", project.said
    (life,) = project.lives("video_tokenizer")
    assert life["keep_checkpoints"] == "7"


@pytest.mark.parametrize("name", ["stage", "inference-1", "a", "a-b-c1"])
def test_a_gate_has_a_plain_name(name: str, tmp_path: Path) -> None:
    ref = write_ours(tmp_path, STAGE, 1)
    mark_gated(ref.path, name)
    for other in (".gated-A", ".gated-a--b", ".gated--a", ".gated-x.part"):
        (tmp_path / other).write_text("dynamics_step_9")
    assert gated_checkpoints(tmp_path) == {name: ref.path}
    assert (tmp_path / f".gated-{name}").read_bytes() == b"dynamics_step_1\n"
    assert gated_checkpoints(tmp_path / "absent") == {}


def test_an_earlier_removal_that_was_cut_short_is_finished_and_reaches_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("tinyworlds_gate.checkpoints.retention.sync", synced.append)
    refs = [write_ours(tmp_path, STAGE, step) for step in range(3)]
    (tmp_path / f".pruned-{STAGE}_step_0" / "left").mkdir(parents=True)
    assert Retention(tmp_path, STAGE, 1).prune(protect=[refs[1].path]) == [refs[0].path]
    assert names_in(tmp_path) == [f"{STAGE}_step_1", f"{STAGE}_step_2"]
    assert synced == [tmp_path]
