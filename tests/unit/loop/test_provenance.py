"""Whose training frames the models have seen, and the drawn clips that are left out or refused for it.

pytest tests/unit/loop/test_provenance.py
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.helpers.checkpoint_files import copy_foreign, write_ours
from tests.helpers.data_files import write_h5
from tests.helpers.fake_stages import FakeProject
from tests.unit.loop.test_data import EPISODES, LENGTH, SIDE, evaluation_set, project, starts_of
from tinyworlds_gate.checkpoints.integrity import sha256_of, verify_checkpoint
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.errors import CheckpointError, DataError, TooFewClipsError
from tinyworlds_gate.gate.attempt import trusted_arguments
from tinyworlds_gate.gate.provenance import recorded_conditions
from tinyworlds_gate.loop.data import prepare_data
from tinyworlds_gate.run.journal import last_event

CLIP = 7


def frames_at(root: Path) -> np.ndarray:
    with h5py.File(root / "frames.h5") as file:
        return file["frames"][:].reshape(EPISODES, LENGTH, SIDE, SIDE, 3)


def write_again(root: Path, frames: np.ndarray, **more: np.ndarray) -> None:
    """Replace the frames file by another one."""
    (root / "frames.h5").unlink()
    flat = np.clip(frames.reshape(-1, SIDE, SIDE, 3), 0, 255).astype(np.uint8)
    write_h5(root / "frames.h5", frames=flat, **({"episode": np.arange(EPISODES).repeat(LENGTH)} | more))


def trained_before(made: FakeProject) -> CheckpointRef:
    """A checkpoint of the run, with the manifest that the trainer writes after the preparation."""
    prepare_data(made.context)
    layout = made.context.layout
    manifest = {
        "data_sha256": sha256_of(layout.project_root / "frames.h5"),
        "training_frames_sha256": sha256_of(layout.training_frames),
    }
    return write_ours(layout.checkpoints("dynamics"), "dynamics", 4, manifest=manifest)


def later_run(made: FakeProject, *, split_seed: int = 0, train_stage: str = "none") -> FakeProject:
    """Another run of the same project that measures what is there."""
    settings = made.context.settings
    made.context.settings = replace(
        settings,
        options=settings.options.model_copy(update={"train_stage": train_stage}),
        training=settings.training.model_copy(update={"split_seed": split_seed}),
    )
    made.context.layout = replace(made.context.layout, run="later")
    made.context.layout.root.mkdir()
    return made


def unseen_condition(made: FakeProject) -> tuple[str, str]:
    (condition,) = recorded_conditions(made.context.journal.events(), 1, 1)
    assert condition.id == "G5.unseen"
    return condition.verdict, condition.reason


@pytest.mark.requirement("G5")
def test_clips_outside_of_the_training_are_measured_and_the_frames_are_recorded(tmp_path: Path) -> None:
    made = project(tmp_path)
    reference = trained_before(made)
    (ready,) = made.events("dataset_ready")
    assert ready["provenance"] == {
        "path": "results/" + made.context.layout.run + "/training_frames.h5",
        "sha256": sha256_of(made.context.layout.training_frames),
        "frames": 54,
        "files": ["frames.h5"],
        "unknown": {},
        "left_out": {},
        "unchecked": "",
    }
    assert unseen_condition(made) == (
        "PASS",
        "no measured clip, and no near copy of one, is in the 54 training frames of these models (frames.h5)",
    )
    prepare_data(later_run(made).context, {"dynamics": reference})
    assert unseen_condition(made)[0] == "PASS"


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the same pixels": lambda frames: frames,
    "one level a pixel": lambda frames: frames.astype(int) + 1,
    "noise": lambda frames: frames.astype(int) + np.random.default_rng(1).integers(-2, 3, frames.shape),
    "mirrored episodes' order": lambda frames: frames[::-1],
}


@pytest.mark.requirement("G5", "L7")
@pytest.mark.parametrize("change", CHANGES)
def test_training_clips_in_a_rewritten_file_are_refused_before_anything_trains(tmp_path: Path, change: str) -> None:
    made = project(tmp_path)
    reference = trained_before(made)
    write_again(tmp_path, CHANGES[change](frames_at(tmp_path)))
    later_run(made, split_seed=2)
    with pytest.raises(TooFewClipsError, match=r"of the 6 clips .* near copies of them, are training frames of these"):
        prepare_data(made.context, {"dynamics": reference})


@pytest.mark.requirement("G5")
def test_another_split_of_the_same_file_is_refused_with_both_splits(tmp_path: Path) -> None:
    made = project(tmp_path)
    sha256, config = sha256_of(tmp_path / "frames.h5"), {"held_out_fraction": 0.4, "split_seed": 0}
    reference = write_ours(tmp_path / "old", "dynamics", 4, manifest={"data_sha256": sha256}, **config)
    prepare_data(later_run(made).context, {"dynamics": reference})
    assert unseen_condition(made)[0] == "PASS"
    settings = made.context.settings
    made.context.settings = replace(settings, training=settings.training.model_copy(update={"split_seed": 3}))
    with pytest.raises(CheckpointError, match=r"held_out_fraction=0\.4 and split_seed=0, this run uses 0\.4 and 3"):
        prepare_data(made.context, {"dynamics": reference})


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("kind", ["published", "other data", "continued", "codes gone"])
def test_unknown_training_frames_are_said_and_make_a_long_run_invalid(tmp_path: Path, kind: str) -> None:
    made = project(tmp_path)
    own = sha256_of(tmp_path / "frames.h5")
    kinds: dict[str, tuple[dict[str, Any], str]] = {
        "published": ({}, "it has no manifest"),
        "other data": ({"data_sha256": "ab" * 32}, "names a frames file with SHA-256 abababababab"),
        "continued": ({"data_sha256": own, "other_data": True}, "continued from a checkpoint of other training frames"),
        "codes gone": ({"data_sha256": "ab" * 32, "training_frames_sha256": "cd" * 32}, "put the folder of its run"),
    }
    manifest, said = kinds[kind]
    split = {"held_out_fraction": 0.4, "split_seed": 0}
    reference = write_ours(tmp_path / "old", "dynamics", 4, manifest=manifest, **split)
    if kind == "published":
        reference = verify_checkpoint(copy_foreign(tmp_path / "foreign", "dynamics"), require_optimizer=False)
    later_run(made)
    prepare_data(made.context, {"dynamics": reference})
    verdict, reason = unseen_condition(made)
    assert verdict == "NOT-RUN"
    assert reason.startswith("the training frames of these models are not known: dynamics (")
    assert said in reason
    events = made.context.journal.events()
    longrun = [{**one, "kind": "longrun"} if one["event"] == "run_started" else one for one in events]
    longrun = longrun if last_event(longrun, "run_started") else [{"event": "run_started", "kind": "longrun"}, *events]
    (condition,) = recorded_conditions(longrun, 1, 1)
    assert (condition.verdict, condition.reason) == ("INVALID", reason)


@pytest.mark.requirement("G5")
def test_a_long_run_on_top_of_unknown_frames_ends_before_it_trains(tmp_path: Path) -> None:
    made = project(tmp_path)
    settings = made.context.settings
    made.context.settings = replace(settings, profile=settings.profile.model_copy(update={"kind": "longrun"}))
    reference = write_ours(tmp_path / "old", "dynamics", 4, manifest={"data_sha256": "ab" * 32})
    with pytest.raises(TooFewClipsError, match=r"dynamics \(its manifest names .*\)\. A long run needs to know it"):
        prepare_data(made.context, {"dynamics": reference})


@pytest.mark.requirement("G5")
def test_what_a_run_started_from_stays_known_to_later_runs(tmp_path: Path) -> None:
    made = project(tmp_path)
    unknown = write_ours(tmp_path / "old", "dynamics", 4, manifest={"data_sha256": "ab" * 32})
    prepare_data(made.context, {"dynamics": unknown})
    manifest = {"training_frames_sha256": sha256_of(made.context.layout.training_frames)}
    reference = write_ours(made.context.layout.checkpoints("dynamics"), "dynamics", 9, manifest=manifest)
    prepare_data(later_run(made).context, {"dynamics": reference})
    assert unseen_condition(made)[0] == "NOT-RUN"
    assert "names a frames file with SHA-256 abababababab" in unseen_condition(made)[1]


@pytest.mark.requirement("G5", "L7")
def test_single_training_clips_are_left_out_counted_and_not_passed_to_inference(tmp_path: Path) -> None:
    made = project(tmp_path, length=60, clips=60)
    frames, length = np.random.default_rng(0).integers(0, 255, (EPISODES, 60, SIDE, SIDE, 3), np.uint8), 60
    prepare_data(made.context)
    plan = made.context.clips
    start, other = starts_of(plan)[1][0], plan.split.train[0] * length
    flat = frames.reshape(-1, SIDE, SIDE, 3)
    flat[start : start + CLIP] = flat[other : other + CLIP]
    (tmp_path / "frames.h5").unlink()
    write_h5(tmp_path / "frames.h5", frames=flat, episode=np.arange(EPISODES).repeat(length))
    prepare_data(made.context)
    ready = made.events("dataset_ready")[-1]
    left_out = ready["provenance"]["left_out"]["1"]
    assert start in left_out
    assert all(abs(one - start) < CLIP for one in left_out)
    kept = starts_of(made.context.clips)[1]
    assert not set(kept) & set(left_out)
    assert len(kept) + len(left_out) == 60
    assert unseen_condition(made)[1].endswith(f"; {len(left_out)} of the drawn clips left out")
    arguments = trusted_arguments(
        made.context.settings,
        made.context.clips,
        {},
        draw=1,
        measures_file=tmp_path / "m.json",
        batch_size=1,
        on_cpu=True,
    )
    assert arguments["left_out_clips"] == ",".join(map(str, left_out))


@pytest.mark.requirement("G5")
def test_episodes_that_copy_one_are_refused(tmp_path: Path) -> None:
    made = project(tmp_path)
    prepare_data(made.context)
    frames, held_out = frames_at(tmp_path), made.context.clips.split.held_out
    frames[list(held_out)] = frames[held_out[0]]
    write_again(tmp_path, frames.astype(int) + np.arange(EPISODES)[:, None, None, None, None] % 2)
    with pytest.raises(
        TooFewClipsError, match=r"of the 6 clips .* are near copies of clips in other held-out episodes"
    ):
        prepare_data(made.context)
    frames[:] = frames[0]
    write_again(tmp_path, frames)
    with pytest.raises(TooFewClipsError, match=r"6 of the 6 clips .* 100% occur as a whole in another one"):
        prepare_data(made.context)


@pytest.mark.requirement("G5")
def test_near_copies_of_the_data_in_an_evaluation_set_are_refused(tmp_path: Path) -> None:
    made = project(tmp_path, evaluation_file="evaluation.h5")
    evaluation_set(tmp_path)
    frames = frames_at(tmp_path)[3].astype(int)
    with h5py.File(tmp_path / "evaluation.h5", "r+") as file:
        file["frames"][:LENGTH] = np.clip(frames + 1, 0, 255)
    with pytest.raises(DataError, match=r"1 of the 2 clips drawn from .*evaluation\.h5, or near copies of them"):
        prepare_data(made.context)


def test_a_game_of_few_pictures_is_not_checked_and_says_so(tmp_path: Path) -> None:
    made = project(tmp_path)
    pictures = frames_at(tmp_path)[0, :4]
    write_again(tmp_path, pictures[np.arange(EPISODES * LENGTH) % 4])
    prepare_data(made.context)
    verdict, reason = unseen_condition(made)
    assert verdict == "NOT-RUN"
    assert reason.startswith("the frames show fewer than 8 different pictures")
