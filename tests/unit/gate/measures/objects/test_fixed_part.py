"""A part of the screen that stays while the rest scrolls is a scene of its own.

pytest tests/unit/gate/measures/objects/test_fixed_part.py
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.helpers.gate_evidence import objects
from tinyworlds_gate.gate.measures.objects.cells import to_cells
from tinyworlds_gate.gate.measures.objects.fixed_part import cut_fixed_part
from tinyworlds_gate.gate.measures.objects.measure import measure_objects
from tinyworlds_gate.gate.measures.objects.scene import see
from tinyworlds_gate.gate.object_rule import judge_objects, meets
from tinyworlds_gate.names import FAIL, NOT_RUN, PASS

CLIPS, CONTEXT, STEPS, SIDE, SHORE = 8, 3, 9, 64, 32
WALKER = (250, 240, 60)


@cache
def shore(walkers: bool = True, display: bool = False, gone_from: int = STEPS) -> np.ndarray:
    """Return clips [N, T, H, W, 3]: a texture that flows down at the left; at the right land with two walkers.

    ``display``: a square on land changes its colour once a clip. ``gone_from``: the step from which no walker is drawn.
    """
    clips = np.zeros((CLIPS, CONTEXT + STEPS, SIDE, SIDE, 3), np.uint8)
    for number, clip in enumerate(clips):
        generator = np.random.default_rng([3, number])
        water = generator.integers(40, 200, (SIDE, SHORE // 4, 3)).repeat(4, axis=1)
        places, speeds = generator.uniform((4, 40), (54, 56), (2, 2)), generator.choice([-2, 2], (2, 2))
        for time, frame in enumerate(clip):
            frame[:, :SHORE] = np.roll(water, 2 * time, axis=0)
            frame[:, SHORE:] = (60, 110, 50)
            if display:
                frame[50:60, 50:60] = (200, 40, 40) if time > 4 + number % 4 else (40, 40, 200)
            for walker in range(2):
                top, left = places[walker].astype(int)
                if walkers and time < CONTEXT + gone_from:
                    frame[top : top + 5, left : left + 5] = WALKER
                places[walker] += speeds[walker]
                out = (places[walker] < (1, 38)) | (places[walker] > (58, 58))
                speeds[walker] = np.where(out, -speeds[walker], speeds[walker])
                places[walker] = np.clip(places[walker], (1, 38), (58, 58))
    return clips


def cut(clips: np.ndarray) -> list[np.ndarray] | None:
    context, true = clips[:, :CONTEXT], clips[:, CONTEXT:]
    return cut_fixed_part(see(context, true), to_cells(context[:, -1]), to_cells(true), [context, true])


@pytest.mark.requirement("G6")
def test_walkers_beside_a_river_are_a_part_of_their_own_and_a_display_is_none() -> None:
    part = cut(shore())
    assert part is not None
    context, true = part
    assert (context.shape[1], true.shape[1], true.shape[2]) == (CONTEXT, STEPS, SIDE)
    assert SHORE - 8 <= true.shape[3] <= SHORE
    walks = (true == WALKER).all(axis=-1).any(axis=(2, 3))
    assert walks.all(), "the walkers are in it"
    assert cut(shore(walkers=False, display=True)) is None


@pytest.mark.requirement("G6")
def test_walkers_that_vanish_late_beside_a_river_fail_and_exact_frames_pass() -> None:
    true = shore()
    for gone_from, expected in ((STEPS, PASS), (5, FAIL)):
        made = shore(gone_from=gone_from)
        record = measure_objects(true[:, :CONTEXT], true[:, CONTEXT:], made[:, CONTEXT:], np.arange(CLIPS))
        assert record["fixed_part"]["sightings"] >= 100
        verdict, reason = judge_objects(record, 0.9)
        assert verdict == expected, reason
        assert "in the part that stays while the rest scrolls: " in reason


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("part", "fails"),
    [
        (None, False),
        (objects(), False),
        (objects(recall=0.5), True),
        (objects(recall=0.5) | {"no_occasion": "the true frames show nothing"}, False),
    ],
    ids=["none", "found", "lost", "no occasion"],
)
def test_the_part_is_judged_as_the_frame_is(part: dict[str, Any] | None, fails: bool) -> None:
    record = objects() | {"fixed_part": part}
    verdict, reason = judge_objects(record, 0.9)
    assert verdict == (FAIL if fails else PASS)
    assert ("in the part that stays while the rest scrolls: 50 % of 200 sightings" in reason) == fails
    assert meets(record, 0.9) != fails
    idle = record | {"no_occasion": "nothing moves in the rest"}
    judged = bool(part) and not (part or {})["no_occasion"]
    assert judge_objects(idle, 0.9)[0] == (FAIL if fails else PASS if judged else NOT_RUN)
    assert meets(idle, 0.9) == (judged and not fails)
