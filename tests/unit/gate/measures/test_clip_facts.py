"""The harness looks at the measured clips itself: other clips, scaled frames and files that changed are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.helpers.data_files import write_h5
from tests.helpers.gate_evidence import clip, raw
from tests.unit.gate.measures.test_memory_references import STRAIGHT, walk
from tinyworlds_gate.gate.measures.clip_facts import clip_facts
from tinyworlds_gate.gate.measures.raw import MeasuresError
from tinyworlds_gate.gate.measures.summary import summarise
from tinyworlds_gate.reference.data.split import clip_digest

CONTEXT, STEPS = 3, 5
KNOWN = ("actions", "player_position")


@pytest.fixture
def frames_file(tmp_path: Path) -> Path:
    """Two episodes in which a player walks eight frames through Crafter's geometry, taking action 2, then 1."""
    walks = [walk(STRAIGHT, seed) for seed in (0, 1)]
    return write_h5(
        tmp_path / "game_frames.h5",
        frames=np.concatenate([frames[0] for frames, _ in walks]),
        player_position=np.concatenate([positions[0] for _, positions in walks]),
        episode=np.repeat([0, 1], 8),
        actions=np.repeat(np.array([2, 1], np.uint8), 8),
    )


def copied(pixels: np.ndarray, start: int) -> list[float]:
    shown = pixels[start : start + CONTEXT + STEPS].astype(np.float64) / 255
    return [float(np.square(frame - shown[CONTEXT - 1]).mean()) for frame in shown[CONTEXT:]]


def measured(path: Path, **changes: Any) -> dict[str, Any]:
    """What an honest inference process writes of both clips."""
    with h5py.File(path) as file:
        pixels = file["frames"][:]
    starts = np.array([0, 8])
    clips = [
        {**clip([0.01] * STEPS, episode=number, start=int(start)), "copy_last_mse": copied(pixels, int(start))}
        for number, start in enumerate(starts)
    ]
    for number, one in enumerate(clips):
        one["latent_actions"] = [[0, 3 - number]] * STEPS
    digest = clip_digest(np.stack([pixels[start : start + CONTEXT + STEPS] for start in starts]), starts)
    origin = {"data_path": path.name, "stride": 1, "frame_size": 20, "context": CONTEXT, "clip_digest": digest}
    return raw(clips, **{**origin, **changes})


@pytest.mark.requirement("G5")
def test_the_clips_of_an_honest_run_are_found_again_with_all_that_the_file_knows(frames_file: Path) -> None:
    facts = clip_facts(measured(frames_file), frames_file.parent)
    assert facts is not None
    assert facts.memory is not None
    assert facts.memory_note == ""
    assert facts.true_actions is not None
    assert facts.displacements is not None
    assert facts.true_actions.tolist() == [[2] * STEPS, [1] * STEPS]
    assert facts.displacements.tolist() == [[2] * STEPS] * 2
    assert facts.copy_last_mse_BS.shape == (2, STEPS)


@pytest.mark.requirement("G5")
def test_the_measures_have_the_information_of_codes_on_true_actions_and_displacements(frames_file: Path) -> None:
    """Code 3 goes with action 2 and code 2 with action 1, so they tell all; every step goes right, so none varies."""
    content = measured(frames_file)
    found = summarise(content, clip_facts(content, frames_file.parent))
    assert found.action_information == pytest.approx(1.0)
    assert found.displacement_information is None
    assert found.memory_sharp_mse is not None
    assert found.memory_hedged_mse is not None
    assert found.memory_sharp_mse_by_step is not None
    assert np.mean(found.memory_sharp_mse_by_step) == pytest.approx(found.memory_sharp_mse)
    assert found.memory_references is not None
    assert found.memory_references.startswith("no bounds: beating one is no evidence of a leak")


@pytest.mark.requirement("G5")
def test_without_positions_the_memory_references_are_not_run_and_say_why(frames_file: Path) -> None:
    with h5py.File(frames_file, "r+") as file:
        for name in KNOWN:
            del file[name]
    content = measured(frames_file)
    found = summarise(content, clip_facts(content, frames_file.parent))
    assert found.memory_references == "NOT-RUN: the frames file has no player_position"
    assert (found.memory_sharp_mse, found.memory_hedged_mse) == (None, None)
    assert (found.action_information, found.displacement_information) == (None, None)


def test_positions_that_do_not_fit_the_frames_are_reported_and_do_not_fail(frames_file: Path) -> None:
    with h5py.File(frames_file, "r+") as file:
        file["player_position"][:] = file["player_position"][:][::-1]
    content = measured(frames_file)
    found = summarise(content, clip_facts(content, frames_file.parent))
    assert found.memory_references is not None
    assert found.memory_references.startswith("NOT-RUN: the frames do not move with player_position")


def test_a_file_that_is_gone_is_reported_with_what_it_was_needed_for(frames_file: Path) -> None:
    content = measured(frames_file)
    frames_file.unlink()
    with pytest.raises(MeasuresError, match=r"the clips that were measured cannot be read again: .*no such file"):
        clip_facts(content, frames_file.parent)


def test_a_clip_that_leaves_its_episode_is_reported(frames_file: Path) -> None:
    content = measured(frames_file)
    content["clips"][0]["start"] = 4
    with pytest.raises(MeasuresError, match="the clip of 8 frames from 4 leaves its episode"):
        clip_facts(content, frames_file.parent)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("key", ["data_path", "stride", "frame_size", "clip_digest"])
def test_measures_that_do_not_say_where_their_clips_lie_are_no_evidence(frames_file: Path, key: str) -> None:
    with pytest.raises(MeasuresError, match=f"do not say which clips they are errors of .*{key}"):
        clip_facts(measured(frames_file, **{key: None}), frames_file.parent)
