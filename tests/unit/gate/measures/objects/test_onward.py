"""Objects that the context shows are judged over terrain that it does not show; what first comes into view is not.

pytest tests/unit/gate/measures/objects/test_onward.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.gate_evidence import objects
from tinyworlds_gate.gate.measures.objects.cells import blur, to_cells
from tinyworlds_gate.gate.measures.objects.onward import score_onward
from tinyworlds_gate.gate.measures.objects.scene import see
from tinyworlds_gate.gate.object_rule import judge_objects

CLIPS, CONTEXT, FRAMES, SIDE, SPEED = 12, 3, 13, 64, 6


def film(*, gone_from: int = FRAMES, terrain: int = 0, turned: bool = False, first: int = 0) -> np.ndarray:
    """Return clips uint8 [N, F, H, W, 3] of a bird that flies on over a level that scrolls fast.

    Args:
        gone_from: the frame from which on the bird is not drawn.
        terrain: another level, where no context frame shows it.
        turned: the level scrolls upwards.
        first: the frame in which the bird appears.
    """
    films = []
    for number in range(CLIPS):
        rng = np.random.default_rng([1, number])
        level, other = (
            np.random.default_rng([2, number, one]).integers(80, 200, (SIDE // 4, 40, 3)).astype(np.uint8)
            for one in (0, terrain)
        )
        shown_by_context = (SIDE + SPEED * (CONTEXT - 1)) // 4
        level = np.concatenate([level[:, :shown_by_context], other[:, shown_by_context:]], axis=1)
        level = level.repeat(4, axis=0).repeat(4, axis=1)
        y, x, down = int(rng.integers(8, 44)), int(rng.integers(30, 46)), int(rng.choice([-2, 2]))
        for frame in range(FRAMES):
            shown = level[:, SPEED * frame : SPEED * frame + SIDE].copy()
            if first <= frame < gone_from:
                shown[y : y + 6, x : x + 6] = (15, 15, 15)
            y, x = y + down, x + int(rng.integers(-1, 2))
            down = -down if not 6 <= y <= 50 else down
            films.append(shown.swapaxes(0, 1) if turned else shown)
    return np.stack(films).reshape(CLIPS, FRAMES, SIDE, SIDE, 3)


def score(true: np.ndarray, *made: np.ndarray) -> list[dict[str, Any]]:
    scene = see(true[:, :CONTEXT], true[:, CONTEXT:])
    generated = [one[:, CONTEXT:] for one in (true, *made)]
    context, shown, *cells = (blur(to_cells(one)) for one in (true[:, :CONTEXT], *generated))
    return [score_onward(scene, context, shown, one, np.arange(CLIPS)) for one in cells]


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("turned", [False, True])
def test_a_bird_that_is_lost_over_new_terrain_is_seen(turned: bool) -> None:
    true = film(turned=turned)
    lost = [film(gone_from=frame, turned=turned) for frame in (CONTEXT, 8, 9)]
    exact, *rows = score(true, true, *lost)
    assert exact["sightings"] >= 45
    assert (exact["found"], exact["high"]) == (exact["sightings"], 1.0)
    for row in rows:
        assert row["sightings"] == exact["sightings"]
        assert row["high"] < 0.7


@pytest.mark.requirement("G6")
def test_the_terrain_that_no_model_knows_does_not_count() -> None:
    (found,) = score(film(), film(terrain=1))
    assert found["found"] >= 0.95 * found["sightings"]


@pytest.mark.requirement("G6")
def test_what_the_context_does_not_show_is_not_judged() -> None:
    (found,) = score(film(first=8), film(gone_from=0))
    assert found["sightings"] <= 3


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        ({"sightings": 100, "episodes": 20, "found": 40, "high": 0.5}, "FAIL"),
        ({"sightings": 100, "episodes": 20, "found": 80, "high": 0.85}, "PASS"),
        ({"sightings": 29, "episodes": 20, "found": 0, "high": 0.0}, "PASS"),
        ({"sightings": 100, "episodes": 4, "found": 0, "high": None}, "PASS"),
        (None, "PASS"),
    ],
)
def test_enough_sightings_are_required_to_be_found(row: dict[str, Any] | None, verdict: str) -> None:
    found, reason = judge_objects({**objects(), "onward": row}, 0.9)
    assert found == verdict
    assert ("40 of 100 sightings are found" in reason) is (verdict == "FAIL")
