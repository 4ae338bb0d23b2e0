"""Frames that got something of the true future are better than the probe's; tokens that flip by chance are not.

pytest tests/unit/gate/measures/test_probe_gain.py
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.helpers.object_games import FAULTS, games, generated, rollouts
from tests.unit.gate.measures.test_probe import WEIGHTS
from tinyworlds_gate.gate.measures.probe import Probe, Probed, probed
from tinyworlds_gate.gate.measures.probe_gain import _systematic, error_gain, object_gain
from tinyworlds_gate.gate.measures.probe_plan import PREDICTED, RANDOM
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames
from tinyworlds_gate.reference.rollout.probe_files import ProbeResult

CLIPS, PATCH = 16, 8
PLAYED = games(3, clips=CLIPS, scroll=False)
CONTEXT, TRUE = rollouts(PLAYED)
LOST = generated(PLAYED, FAULTS["no objects"])
OFFSET = 24
"""Levels: an error beside which that of the objects is small."""


def compared(judged: np.ndarray, probe: np.ndarray, random: tuple[np.ndarray, np.ndarray] | None = None) -> Probed:
    """Return the comparison of two rollouts, and of ``random`` (judged, probe), which follow random actions."""
    result = ProbeResult({PREDICTED: probe} | ({} if random is None else {RANDOM: random[1]}), WEIGHTS)
    frames = GeneratedFrames(judged, random=None if random is None else random[0])
    made = Probe(result, tuple(range(CLIPS)))
    return probed(made, frames, TRUE, np.arange(CLIPS), WEIGHTS, context_BPHWC=CONTEXT)


def painted(clips: int) -> np.ndarray:
    """Return frames without objects, with the true ones painted into the first clips."""
    judged = LOST.copy()
    judged[:clips] = TRUE[:clips]
    return judged


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("clips", [3, CLIPS])
def test_objects_painted_into_under_1_percent_of_the_values_are_found_by_the_error(clips: int) -> None:
    found = compared(painted(clips), LOST)
    assert found.changed < 0.02
    assert found.gain.startswith("the error is")
    assert f"better in {clips} of {CLIPS} clips, worse in 0" in found.gain
    assert compared(LOST, painted(clips)).gain == "", "a worse rollout is no leak"


@pytest.mark.requirement("G5")
def test_painted_objects_are_found_beside_a_larger_error() -> None:
    probe = np.clip(LOST.astype(int) + OFFSET, 0, 255).astype(np.uint8)
    judged = np.where(LOST == TRUE, probe, TRUE)
    judged[:, :, :20, :20] //= 3
    assert not error_gain(judged, probe, TRUE), "elsewhere the frames were made worse"
    found = object_gain(CONTEXT, TRUE, judged, probe)
    assert re.match(r"of \d+ small objects \d+ instead of \d+ are found \(better in \d+ of 16 clips", found)


@pytest.mark.requirement("G5")
def test_something_painted_over_is_found_by_the_objects_that_are_none() -> None:
    probe = TRUE.copy()
    probe[:, :, 30:36, 30:36] = (30, 230, 240)
    found = object_gain(CONTEXT, TRUE, TRUE, probe)
    assert "objects are shown that are none" in found
    assert object_gain(CONTEXT, TRUE, probe, TRUE) == ""


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("flips", [1, 40])
def test_tokens_that_flip_by_chance_are_no_leak(flips: int) -> None:
    """A flip changes one patch of one clip from a step on, in either of the two rollouts."""
    alarms = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rollouts_of_both = [LOST.copy(), LOST.copy()]
        for _ in range(flips):
            clip, step = rng.integers(CLIPS), rng.integers(TRUE.shape[1])
            top, left = PATCH * rng.integers(0, TRUE.shape[2] // PATCH, 2)
            other = rng.integers(CLIPS)
            rollouts_of_both[rng.integers(2)][clip, step:, top : top + PATCH, left : left + PATCH] = LOST[
                other, step:, top : top + PATCH, left : left + PATCH
            ]
        alarms += bool(error_gain(rollouts_of_both[0], rollouts_of_both[1], TRUE))
    assert alarms <= 1
    assert object_gain(CONTEXT, TRUE, *rollouts_of_both) == ""


@pytest.mark.requirement("G5")
def test_random_actions_made_worse_are_found() -> None:
    random = LOST
    worse = random.copy()
    worse[:, :, :6, :6] = 255
    assert compared(LOST, LOST, (random, random)).random_gain == ""
    found = compared(LOST, LOST, (worse, random))
    assert found.random is not None
    assert found.random < 0.01
    assert found.random_gain.startswith("the error is")
    assert compared(LOST, LOST, (random, worse)).random_gain == ""


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("gains", "whole", "found"),
    [
        (7, 7 / 0.02 - 1, True),
        (7, 7 / 0.02 + 1, False),
        (6, 6 / 0.02 - 1, False),
        (3, 29.0, True),
        (3, 31.0, False),
        (2, 1.0, False),
        (0, 0.0, False),
    ],
)
def test_a_gain_exceeds_its_share_and_chance(gains: int, whole: float, found: bool) -> None:
    """N equal gains are √N deviations: 7 are above 2.5, 3 above 1.7."""
    said = _systematic(np.array([1.0] * gains + [0.0] * (CLIPS - gains)), whole)
    assert said == (f"better in {gains} of 16 clips, worse in 0" if found else "")
    assert _systematic(np.array([-1.0] * gains + [0.0] * (CLIPS - gains)), whole) == ""
    if found:
        mixed = _systematic(np.array([4.0] * gains + [-0.01] * (CLIPS - gains)), whole)
        assert mixed == f"better in {gains} of 16 clips, worse in {CLIPS - gains}"


@pytest.mark.requirement("G5")
def test_the_same_frames_gain_nothing() -> None:
    for frames in (TRUE, LOST, np.zeros_like(TRUE)):
        found = compared(frames, frames)
        assert (found.gain, found.changed) == ("", 0)
