"""Errors of generated frames, and how many values of a probe differ.

pytest tests/unit/gate/measures/test_recomputed_errors.py
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.raw import MeasuresError
from tinyworlds_gate.gate.measures.recomputed_errors import changed_share, frame_errors, recomputed
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames


def frames(clips: int, value: int = 0, steps: int = 2) -> np.ndarray:
    return np.full((clips, steps, 2, 2, 3), value, np.uint8)


def test_an_error_is_of_frames_between_0_and_1_for_each_clip_and_step() -> None:
    made, true = frames(2), frames(2)
    made[1, 0] = 255
    true[0, 1, 0, 0, 0] = 51
    np.testing.assert_allclose(frame_errors(made, true), [[0.0, 0.04 / 12], [1.0, 0.0]])


@pytest.mark.parametrize(("difference", "changed"), [(0, 0.0), (2, 0.0), (3, 1.0), (-2, 0.0), (-3, 1.0)])
def test_a_value_is_changed_by_more_than_two_levels(difference: int, changed: float) -> None:
    assert changed_share(frames(1, 100 + difference), frames(3, 100)) == changed
    one = frames(1, 100)
    one[0, 0, 0, 0, 0] = 110
    assert changed_share(one, frames(2, 100)) == 1 / 24


def test_what_a_file_of_an_older_version_has_is_compared_too() -> None:
    non_finite = np.zeros((2, 2, 2), np.uint8)
    non_finite[0, 1] = (0b101, 0b1)
    both = GeneratedFrames(
        frames(2), withheld=frames(1, 9), repeated=frames(2), random=frames(2, 255), non_finite=non_finite
    )
    found = recomputed(both, frames(2))
    assert (found.withheld_changed, found.repeated_changed, found.probed_clips, found.non_finite) == (1.0, 0.0, 1, 3)
    np.testing.assert_array_equal(found.mse_BS, np.zeros((2, 2)))
    np.testing.assert_array_equal(found.random_mse_BS, np.ones((2, 2)))
    alone = recomputed(GeneratedFrames(frames(2)), frames(2))
    assert (alone.withheld_changed, alone.repeated_changed, alone.probed_clips, alone.non_finite) == (
        None,
        None,
        0,
        None,
    )
    assert alone.random_mse_BS is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"predicted": frames(1)},
            "1 x 2 frames of 2 x 2 px were generated where 2 x 2 frames of 2 x 2 px are to be com",
        ),
        (
            {"withheld": frames(0)},
            "a probe of 0 x 2 frames of 2 x 2 px is none of 2 x 2 frames of 2 x 2 px; run infere",
        ),
        (
            {"withheld": frames(3)},
            "a probe of 3 x 2 frames of 2 x 2 px is none of 2 x 2 frames of 2 x 2 px; run infere",
        ),
        (
            {"repeated": frames(1, steps=1)},
            "a probe of 1 x 1 frames of 2 x 2 px is none of 2 x 2 frames of 2 x 2 px; r",
        ),
        (
            {"random": frames(1)},
            "random actions gave 1 x 2 frames of 2 x 2 px, not 2 x 2 frames of 2 x 2 px; run infer",
        ),
    ],
)
def test_frames_of_another_shape_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MeasuresError, match=f"^{re.escape(said)}"):
        recomputed(GeneratedFrames(**{"predicted": frames(2), **changes}), frames(2))
