"""The clips that a config selects: context and length, file, split, and clips that are left out.

pytest tests/unit/reference/rollout/test_clip_set_draw.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pytest
import torch

from tests.helpers.data_files import write_h5
from tests.helpers.small_models import sizes
from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.schema import InferenceConfig
from tinyworlds_gate.errors import TrainingError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.data.split import split_episodes
from tinyworlds_gate.reference.rollout.clip_set import ClipSet, draw_held_out, recorded_splits
from tinyworlds_gate.reference.rollout.world_models import TrainedModels

EPISODES, LENGTH, SIDE = 6, 12, 16


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (EPISODES * LENGTH, SIDE, SIDE, 3), np.uint8)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a frames file and an evaluation set."""
    folder = tmp_path_factory.mktemp("clips")
    episode = np.arange(EPISODES).repeat(LENGTH)
    write_h5(folder / "data" / "tiny_frames.h5", frames=noise(0), episode=episode)
    write_h5(folder / "evaluation.h5", frames=noise(1), episode=episode, clip_starts=np.array([0, 13, 30]))
    return folder


def trained(
    context_length: int = 4, data_sha256: str | None = None, recorded: Mapping[str, Any] | None = None
) -> TrainedModels:
    """Return checkpoints of stages; that of dynamics names the data it was trained on."""
    manifests: dict[str, Any] = {
        stage: None if stage == "latent_actions" else {"data_sha256": "other"} for stage in STAGES
    }
    manifests["dynamics"] = {"data_sha256": data_sha256}
    references = {
        stage: CheckpointRef(stage, 7, Path(f"{stage}_step_7"), "w", 1, manifest)
        for stage, manifest in manifests.items()
    }
    configs: dict[str, Mapping[str, Any]] = {stage: {"split_seed": 99} for stage in STAGES}
    configs["dynamics"] = recorded or {}
    return TrainedModels(
        cast(Any, None), references, dict.fromkeys(STAGES, sizes(context_length=context_length)), configs
    )


def draw(root: Path, models: TrainedModels | None = None, **values: Any) -> ClipSet:
    fixed: dict[str, object] = {"dataset": "TINY", "fps": 60, "clips": 3, "generation_steps": 2}
    config = InferenceConfig.model_validate(fixed | {"held_out_fraction": 0.5} | values)
    return draw_held_out(config, root, models or trained())


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("context_length", "values", "context", "frames"),
    [
        (4, {}, 3, 5),
        (4, {"prediction_horizon": 2, "generation_steps": 3}, 2, 8),
        (2, {}, 1, 3),
        (4, {"context_window": 1}, 1, 3),
        (4, {"context_window": 3}, 3, 5),
        (4, {"context_window": 1, "memory_window": 3}, 1, 3),
        (4, {"context_window": 3, "memory_window": 1}, 3, 5),
    ],
)
def test_a_clip_has_the_context_and_the_frames_of_every_step(
    root: Path, context_length: int, values: dict[str, Any], context: int, frames: int
) -> None:
    found = draw(root, trained(context_length), **values)
    assert (found.context, tuple(found.frames_BTCHW.shape)) == (context, (3, frames, 3, SIDE, SIDE))


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("context_length", "values", "said"),
    [
        (4, {"context_window": 4}, r"context_window=4 and prediction_horizon=1 need 5 frames, .* trained on 4; lower"),
        (4, {"context_window": 1, "memory_window": 4}, r"memory_window=4 and prediction_horizon=1 need 5 frames"),
        (2, {"prediction_horizon": 2}, r"context_window=0 and prediction_horizon=2 need 2 frames, .* trained on 2"),
    ],
)
def test_steps_longer_than_the_clips_of_training_are_refused(
    root: Path, context_length: int, values: dict[str, Any], said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        draw(root, trained(context_length), **values)


@pytest.mark.requirement("G5")
def test_the_clips_are_held_out_and_the_mean_frame_is_that_of_training(root: Path) -> None:
    found = draw(root)
    split = split_episodes(np.arange(EPISODES), 0.5, 0)
    assert set(found.episodes) <= set(split.held_out)
    frames = noise(0).reshape(EPISODES, LENGTH, SIDE, SIDE, 3)
    for start, clip in zip(found.starts, found.frames_BTCHW, strict=True):
        np.testing.assert_allclose((clip.permute(0, 2, 3, 1) + 1) * 127.5, noise(0)[start : start + 5], atol=1e-3)
    training = frames[list(split.train)].mean(axis=(0, 1)) / 127.5 - 1
    np.testing.assert_allclose(found.mean_frame_CHW.permute(1, 2, 0), training, atol=1e-5)
    path = root / "data" / "tiny_frames.h5"
    assert (found.data_path, found.data_sha256, found.stride) == (path, sha256_of(path), 1)
    everything = draw(root, held_out_fraction=1.0).mean_frame_CHW
    np.testing.assert_allclose(everything.permute(1, 2, 0), frames.mean(axis=(0, 1)) / 127.5 - 1, atol=1e-5)


def test_the_settings_of_the_draw_select_the_clips(root: Path) -> None:
    choices: list[dict[str, Any]] = [{}, {"clip_seed": 1}, {"clip_draw": 1}, {"split_seed": 1}, {"clips": 4}]
    clips = {str(values): draw(root, **values).starts.tolist() for values in choices}
    assert [len(one) for one in clips.values()] == [3, 3, 3, 3, 4]
    assert len({tuple(one) for one in clips.values()}) == 5
    assert draw(root).starts.tolist() == clips["{}"]


def test_another_file_and_its_rate_are_read(root: Path, tmp_path: Path) -> None:
    path = write_h5(tmp_path / "x.h5", frames=noise(5), episode=np.arange(EPISODES).repeat(LENGTH))
    assert draw(root, data_path=str(path), fps=30).stride == 2
    with h5py.File(path, "r+") as file:
        file.attrs["fps"] = 30.0
    found = draw(root, data_path=str(path), fps=30)
    assert (found.stride, found.data_path) == (1, path)


def test_clips_are_left_out_by_their_first_frame(root: Path) -> None:
    everything = draw(root).starts.tolist()
    found = draw(root, left_out_clips=f"{everything[0]},{everything[2]}")
    assert found.starts.tolist() == [everything[1]]
    assert len(found.frames_BTCHW) == len(found.episodes) == 1


@pytest.mark.requirement("G5", "L8")
def test_the_final_verdict_measures_the_clips_of_the_evaluation_set(root: Path) -> None:
    evaluation: dict[str, Any] = {"clip_draw": 3, "evaluation_file": "evaluation.h5", "fps": 30}
    found = draw(root, **evaluation)
    assert found.starts.tolist() == [0, 13, 30]
    assert found.episodes.tolist() == [0, 1, 2]
    path = root / "evaluation.h5"
    assert (found.data_path, found.data_sha256, found.stride) == (path, sha256_of(path), 1)
    np.testing.assert_allclose((found.frames_BTCHW[1].permute(0, 2, 3, 1) + 1) * 127.5, noise(1)[13:18], atol=1e-3)
    assert torch.equal(found.mean_frame_CHW, draw(root, fps=30).mean_frame_CHW), "that of the training frames"
    assert draw(root, **evaluation, left_out_clips="13").starts.tolist() == [0, 30]
    with pytest.raises(TrainingError, match=r"evaluation_file=evaluation.h5: dynamics_step_7 was trained on this file"):
        draw(root, trained(data_sha256=sha256_of(path)), **evaluation)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ({}, None),
        ({"split_seed": 0, "held_out_fraction": 0.5}, None),
        ({"split_seed": 3, "held_out_fraction": 0.5}, "split_seed=0 for inference, but dynamics_step_7 was .*=3"),
        ({"held_out_fraction": 0.1}, "trained on the same file with held_out_fraction=0.1, so .*; set held_out_fract"),
    ],
)
def test_a_model_trained_on_the_file_has_the_split_of_the_run(
    root: Path, recorded: dict[str, object], said: str | None
) -> None:
    digest = sha256_of(root / "data" / "tiny_frames.h5")
    models = trained(data_sha256=digest, recorded=recorded)
    assert recorded_splits(models, digest) == {"dynamics": recorded}
    assert recorded_splits(trained(data_sha256="x", recorded=recorded), digest) == {}
    if said is None:
        draw(root, models)
    else:
        with pytest.raises(TrainingError, match=said):
            draw(root, models)
