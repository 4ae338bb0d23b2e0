"""Many clips driven at once show the frames of `play`; and a whole measurement of a small game, slowly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers.play_worlds import noise_frames, play_world
from tests.helpers.small_models import world_models
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.horizon.driven import DrivenModel, drive, reconstructed
from tinyworlds_gate.horizon.measure import measure_world
from tinyworlds_gate.horizon.picture import draw_picture
from tinyworlds_gate.play.session import PlaySession
from tinyworlds_gate.play.world import PlayWorld
from tinyworlds_gate.reference.data.frames_file import load_frames
from tinyworlds_gate.reference.data.game_dataset import make_game
from tinyworlds_gate.reference.data.game_table import GAMES
from tinyworlds_gate.reference.rollout.measure import MeasureSettings, as_bytes

CPU = torch.device("cpu")
CODES = np.array([[3, 0, 2, 2, 1, 0], [1, 1, 0, 3, 2, 2], [0, 3, 3, 1, 1, 2]])


@pytest.mark.parametrize("space", ["tokens", "pixels"])
@pytest.mark.parametrize(("context", "memory"), [(1, None), (3, None), (2, 3)])
def test_the_frames_are_those_of_play(space: str, context: int, memory: int | None) -> None:
    settings = MeasureSettings(generation_steps=1, decode_steps=2, space=space, memory=memory)  # type: ignore[arg-type]
    contexts = np.stack([noise_frames().frames[at : at + context] for at in (0, 25, 45)])
    found = drive(DrivenModel(world_models(), settings, CPU), contexts, CODES)
    session = PlaySession(world_models(), settings, CPU)
    for clip, codes, frames in zip(contexts, CODES, found, strict=True):
        session.reset(clip)
        alone = np.concatenate([session.step(int(code)) for code in codes])
        assert (alone == frames).mean() > 0.99  # the products of a batch are rounded otherwise
        assert np.abs(alone.astype(int) - frames).max() <= 1 or space == "pixels"


def test_a_model_of_several_frames_a_step_is_refused() -> None:
    settings = MeasureSettings(generation_steps=1, prediction_horizon=2)
    with pytest.raises(ConfigError, match="prediction_horizon 2: an action is chosen for each frame"):
        DrivenModel(world_models(), settings, CPU)


@torch.no_grad()
def test_a_reconstruction_is_that_of_the_tokenizer() -> None:
    clips = noise_frames().frames[:6].reshape(2, 3, 16, 16, 3)
    models = world_models()
    from tinyworlds_gate.reference.data.clips import to_model_range

    whole = models.tokenizer.decode(models.tokenizer.encode(to_model_range(torch.from_numpy(clips)))).clamp(-1, 1)
    assert np.abs(as_bytes(whole)[:, -1].astype(int) - reconstructed(models, clips, CPU)).max() <= 1


def crafter_world(path: Path) -> PlayWorld:
    """Return untrained models on eight short episodes of Crafter."""
    make_game(path, GAMES["crafter"], num_frames=160, frame_size=18, episode_length=20, seed=0, workers=1)
    data = load_frames(path, frame_size=16)
    world = play_world(decode_steps=1)
    episodes = tuple(int(one) for one in np.unique(data.episode))
    starts = np.array([int(np.flatnonzero(data.episode == one)[0]) for one in episodes])
    return replace(world, data=data, starts=starts, train=episodes[:4], held_out_episodes=episodes[4:])


@pytest.mark.slow
def test_a_whole_measurement_is_the_same_for_a_seed_and_is_plain_json(tmp_path: Path) -> None:
    world = crafter_world(tmp_path / "crafter.h5")
    found = [measure_world(world, steps=64, clips=4, batch_size=size, seed=1) for size in (4, 4)]
    record = found[0].record
    assert json.loads(json.dumps(record, allow_nan=False)) == json.loads(json.dumps(found[1].record, allow_nan=False))
    assert record["steps"] == 17
    assert record["note"].startswith("17 steps instead of 64")
    assert [len(record["error"][key]) for key in ("by_step", "strongest_by_step", "strongest")] == [17] * 3
    assert record["walk"]["not_run"] or record["walk"]["comes_back"] in (False, None)
    assert len(record["sentences"]) == 4
    assert len(record["codes"]["actions"]) == 6
    draw_picture(found[0], tmp_path / "horizon.png")
    with Image.open(tmp_path / "horizon.png") as picture:
        assert picture.size[0] == 1300
