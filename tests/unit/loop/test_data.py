"""The data is prepared before anything trains: problems are reported at the start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.helpers.data_files import write_h5
from tests.helpers.fake_stages import FakeProject, fake_project
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.errors import ConfigError, DataError, TooFewClipsError
from tinyworlds_gate.gate.clip_plan import ClipPlan
from tinyworlds_gate.loop.data import prepare_data
from tinyworlds_gate.loop.run_inputs import check_inputs

EPISODES, LENGTH, SIDE = 10, 9, 72


def project(
    root: Path,
    length: int = LENGTH,
    *,
    held_out_fraction: float = 0.4,
    train_stage: str = "all",
    retries: int = 2,
    **inference: Any,
) -> FakeProject:
    """A run on a small frames file: three clips of four generated frames in each of four held-out episodes."""
    made = fake_project(root, "video_tokenizer")
    frames = np.random.default_rng(0).integers(0, 255, (EPISODES * length, SIDE, SIDE, 3), np.uint8)
    write_h5(root / "frames.h5", frames=frames, episode=np.arange(EPISODES).repeat(length))
    settings = made.context.settings
    made.context.settings = replace(
        settings,
        profile=settings.profile.model_copy(
            update={"retry": settings.profile.retry.model_copy(update={"max": retries})}
        ),
        options=settings.options.model_copy(update={"train_stage": train_stage}),
        training=settings.training.model_copy(
            update={"data_path": "frames.h5", "held_out_fraction": held_out_fraction, "frame_size": SIDE}
        ),
        inference=settings.inference.model_copy(update={"clips": 6, **inference}),
    )
    return made


def starts_of(plan: ClipPlan) -> dict[int, tuple[int, ...]]:
    return {draw: clips.starts for draw, clips in plan.draws.items()}


@pytest.mark.requirement("L7", "G5")
def test_the_journal_says_what_the_data_is(tmp_path: Path) -> None:
    made = project(tmp_path)
    prepare_data(made.context)
    (event,) = made.events("dataset_ready")
    assert (event["path"], event["sha256"]) == ("frames.h5", sha256_of(tmp_path / "frames.h5"))
    assert (event["frames"], event["frame_size"], event["generated"]) == (90, [SIDE, SIDE], False)
    assert (event["episodes"], event["train_episodes"], event["held_out_episodes"]) == (10, 6, 4)
    assert event["held_out_clips"] == 12
    assert event["draws"] == [{"draw": draw, "clips": 6, "episodes": 2} for draw in (1, 2)]
    plan = made.context.clips
    first, second = starts_of(plan)[1], starts_of(plan)[2]
    assert len({start // LENGTH for start in first} | {start // LENGTH for start in second}) == 4
    assert len(event["copy_last_mse"]) == 4
    assert (plan.path, plan.sha256) == (tmp_path.resolve() / "frames.h5", event["sha256"])
    assert (len(plan.split.train), len(plan.split.held_out)) == (6, 4)


@pytest.mark.parametrize(
    ("inference", "said"),
    [
        (
            {"clips": 7},
            r"clips=7, but the 2 episodes that attempts measure, of 4 held out, can provide only 6 clips of 7 .*most 6",
        ),
        ({"generation_steps": 9}, "no clip of 12 frames fits: the longest chosen episode has 9 frames"),
    ],
)
def test_too_few_held_out_clips_are_reported_before_anything_trains(
    tmp_path: Path, inference: dict[str, Any], said: str
) -> None:
    made = project(tmp_path, **inference)
    with pytest.raises(DataError, match=said):
        prepare_data(made.context)
    assert made.events("dataset_ready") == []


@pytest.mark.requirement("L8", "G5")
def test_a_run_that_may_retry_needs_clips_for_its_final_verdict_before_it_trains(tmp_path: Path) -> None:
    made = project(tmp_path, held_out_fraction=0.3)
    said = (
        r"after a failed gate this run may retrain dynamics, .* needs 6 clips of 7 frames, but the 1 episode reserved "
        r"for it, of 3 held out, can provide 3\. Disable retries \(--max-inference-retries 0\), hold out more"
    )
    with pytest.raises(TooFewClipsError, match=said):
        prepare_data(made.context)


@pytest.mark.requirement("L8")
def test_a_run_that_cannot_retry_needs_no_second_draw_and_measures_the_same_clips(tmp_path: Path) -> None:
    both = project(tmp_path / "both")
    prepare_data(both.context)
    unable = [project(tmp_path / "none", train_stage="none"), project(tmp_path / "budget", retries=0)]
    for made in unable:
        prepare_data(made.context)
        assert starts_of(made.context.clips) == {1: starts_of(both.context.clips)[1]}


def evaluation_set(root: Path, seed: int = 1, name: str = "evaluation.h5") -> str:
    """Three episodes of nine frames, two clips of seven named."""
    frames = np.random.default_rng(seed).integers(0, 255, (27, SIDE, SIDE, 3), np.uint8)
    write_h5(root / name, frames=frames, episode=np.arange(3).repeat(LENGTH), clip_starts=np.array([1, 18]))
    return name


@pytest.mark.requirement("L7", "G5")
def test_with_an_evaluation_set_the_final_verdict_needs_no_second_draw(tmp_path: Path) -> None:
    both = project(tmp_path / "both")
    prepare_data(both.context)
    made = project(tmp_path / "set", held_out_fraction=0.4, evaluation_file=evaluation_set(tmp_path / "set"))
    prepare_data(made.context)
    plan = made.context.clips
    assert starts_of(plan) == {1: starts_of(both.context.clips)[1], 3: (1, 18)}
    assert plan.frames_of(3) == tmp_path / "set" / "evaluation.h5"
    assert plan.frames_of(1) == plan.path == tmp_path / "set" / "frames.h5"
    (event,) = made.events("dataset_ready")
    assert event["draws"][1] == {"draw": 3, "clips": 2, "episodes": 2}
    assert event["evaluation"] == {
        "path": "evaluation.h5",
        "sha256": sha256_of(tmp_path / "set" / "evaluation.h5"),
        "clips": 2,
        "episodes": 2,
        "shared_frames": 0,
    }
    assert both.events("dataset_ready")[0]["evaluation"] is None


@pytest.mark.requirement("G5")
def test_the_training_data_is_no_evaluation_set(tmp_path: Path) -> None:
    made = project(tmp_path, evaluation_file="frames.h5")
    with pytest.raises(
        ConfigError, match=r"evaluation_file=frames\.h5 \(.*\) is the file that the models are trained on"
    ):
        prepare_data(made.context)


@pytest.mark.requirement("G5")
def test_an_evaluation_set_that_shares_clips_with_the_training_data_is_reported_before_anything_trains(
    tmp_path: Path,
) -> None:
    made = project(tmp_path, evaluation_file=evaluation_set(tmp_path, seed=0))
    with pytest.raises(
        DataError, match=r"2 of the 2 clips of .*evaluation\.h5 occur in the training data .*frames\.h5"
    ):
        prepare_data(made.context)
    assert made.events("dataset_ready") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "evaluation.h5").unlink(), "is gone"),
        (lambda root: evaluation_set(root, seed=2), "was changed during the run"),
    ],
)
def test_an_evaluation_set_that_changes_during_the_run_stops_it_before_the_next_launch(
    tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    made = project(tmp_path, evaluation_file=evaluation_set(tmp_path))
    prepare_data(made.context)
    check_inputs(made.context)
    change(tmp_path)
    with pytest.raises(
        DataError, match=rf"The evaluation set evaluation\.h5 {said}: .* go on with --resume-run results/"
    ):
        check_inputs(made.context)


def test_a_draw_that_a_person_set_for_a_run_is_refused(tmp_path: Path) -> None:
    made = project(tmp_path, clip_draw=2)
    with pytest.raises(ConfigError, match=r"clip_draw=2 in .*: a run measures attempts on draw 1 .* remove the key"):
        prepare_data(made.context)


def test_episodes_too_short_to_train_on_are_reported_before_anything_trains(tmp_path: Path) -> None:
    made = project(tmp_path, length=3, context_window=1, generation_steps=1, clips=4)
    with pytest.raises(DataError, match="no clip of 4 frames fits: the longest chosen episode has 3 frames"):
        prepare_data(made.context)


@pytest.mark.parametrize("inference", [{"context_window": 4}, {"prediction_horizon": 4}, {"prediction_horizon": 9}])
def test_a_rollout_step_longer_than_a_training_clip_is_reported_before_anything_trains(
    tmp_path: Path, inference: dict[str, Any]
) -> None:
    made = project(tmp_path, **inference)
    with pytest.raises(
        ConfigError, match="do not fit into context_length=4, the frames that the models are trained on"
    ):
        prepare_data(made.context)


def test_a_memory_that_is_longer_than_a_training_clip_is_named_with_the_rest(tmp_path: Path) -> None:
    made = project(tmp_path, memory_window=4)
    told = r"context_window=3, memory_window=4 and prediction_horizon=1 do not fit into context_length=4"
    with pytest.raises(ConfigError, match=told):
        prepare_data(made.context)


def test_a_missing_file_is_reported_with_its_fix(tmp_path: Path) -> None:
    made = project(tmp_path)
    (tmp_path / "frames.h5").unlink()
    with pytest.raises(DataError, match=r"frames\.h5: there is no such file; .* fix: run"):
        prepare_data(made.context)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("kind", "true_episodes", "stage", "refused"),
    [
        ("longrun", True, "all", "lie in 2 episodes, but the gate requires at least 5 .* no model could pass"),
        (
            "smoke",
            False,
            "all",
            r"lie in 2 pseudo-episodes \(.* no `episode`\).* blocks of at least 7 frames as pseudo-",
        ),
        ("smoke", True, "all", None),
        ("smoke", False, "none", None),
    ],
)
def test_clips_of_too_few_episodes_are_refused_before_a_training_that_could_not_pass(
    tmp_path: Path, kind: str, true_episodes: bool, stage: str, refused: str | None
) -> None:
    made = project(tmp_path, train_stage=stage)
    profile = made.context.settings.profile
    made.context.settings = replace(made.context.settings, profile=profile.model_copy(update={"kind": kind}))
    if not true_episodes:
        with h5py.File(tmp_path / "frames.h5", "r+") as file:
            del file["episode"]
    if refused is not None:
        with pytest.raises(TooFewClipsError, match=refused):
            prepare_data(made.context)
        return
    prepare_data(made.context)
    assert made.events("dataset_ready")
