"""Rollouts of the TinyWorlds fork's checkpoints reproduce its scores (`test_gate_score.py` tests the command).

Run the long rows too: pytest tests/unit/reference/rollout/test_foreign_run.py -m "slow or not slow"
"""

from __future__ import annotations

import functools
import json
from typing import Any

import h5py
import pytest
import torch
from torch import Tensor

from tests.helpers.commands import TEST_DATA
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.rollout.rollout import copy_last, rollout
from tinyworlds_gate.reference.rollout.world_models import WorldModels, load_world_models

FOREIGN_RUN = TEST_DATA / "foreign_run"
FORK = ModelSizes(
    frame_size=128,
    patch_size=4,
    embed_dim=32,
    num_heads=8,
    hidden_dim=128,
    num_blocks=4,
    latent_dim=5,
    num_bins=4,
    n_actions=8,
    context_length=4,
)
CONTEXT, STEPS = 3, 4
CLIPS: list[dict[str, Any]] = json.loads((FOREIGN_RUN / "expected.json").read_text(encoding="utf-8"))["clips"]
each_clip = pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: f"start {clip['start']}")


@functools.cache
def fork_models() -> WorldModels:
    weights = {}
    for stage in ("video_tokenizer", "latent_actions", "dynamics"):
        (path,) = (FOREIGN_RUN / "tinyworlds_fork" / stage).glob("checkpoints/*/model_state_dict.pt")
        weights[stage] = torch.load(path, weights_only=True, map_location="cpu")
    return load_world_models(dict.fromkeys(weights, FORK), weights)


def true_frames(start: int) -> Tensor:
    """Return context and future of the clip, `[1, T, C, H, W]` in [-1, 1]."""
    with h5py.File(FOREIGN_RUN / "clips.h5") as file:
        pixels = torch.from_numpy(file["frames"][start : start + CONTEXT + STEPS])
    return pixels.permute(0, 3, 1, 2)[None].float() / 127.5 - 1


def mse_by_frame(ours: Tensor, true: Tensor) -> list[float]:
    """Return the MSE per frame over pixels and channels, frames mapped to [0, 1]."""
    values: list[float] = ((ours - true) / 2).square().mean(dim=(0, 2, 3, 4)).tolist()
    return values


@each_clip
def test_the_reconstruction_scores_what_the_fork_scored(clip: dict[str, Any]) -> None:
    true = true_frames(clip["start"])[:, : CONTEXT + 1]
    tokenizer = fork_models().tokenizer
    ours = mse_by_frame(tokenizer.decode(tokenizer.encode(true)).clamp(-1, 1), true)
    assert sum(ours) / len(ours) == pytest.approx(clip["tokenizer_recon_mse"], rel=1e-3)


@each_clip
def test_copying_the_last_frame_scores_what_the_fork_scored(clip: dict[str, Any]) -> None:
    true = true_frames(clip["start"])
    ours = mse_by_frame(copy_last(true, CONTEXT, STEPS), true[:, CONTEXT:])
    assert ours == pytest.approx(clip["copy_last_mse"], rel=1e-3)


@each_clip
def test_the_latent_actions_are_those_of_the_fork(clip: dict[str, Any]) -> None:
    true, model = true_frames(clip["start"]), fork_models().latent_actions
    with torch.no_grad():
        windows = torch.cat([true[:, step : step + CONTEXT + 1] for step in range(STEPS)])
        ours = model.action_indices(model.encode(windows)).tolist()
    assert ours == clip["latent_actions"]


def check_rollout(clip: dict[str, Any], steps: int) -> None:
    true = true_frames(clip["start"])
    output = rollout(fork_models(), true, context=CONTEXT, generation_steps=steps, decode_steps=16)
    ours = mse_by_frame(output.predicted_BTCHW, true[:, CONTEXT : CONTEXT + steps])
    assert ours == pytest.approx(clip["rollout_mse"][:steps], rel=1e-3)
    assert output.action_indices[0].tolist() == clip["latent_actions"][:steps]


@pytest.mark.slow
@pytest.mark.requirement("G5")
@each_clip
def test_the_whole_rollout_scores_what_the_fork_scored(clip: dict[str, Any]) -> None:
    check_rollout(clip, STEPS)
