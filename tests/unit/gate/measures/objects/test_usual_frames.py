"""Objects in dark, foggy and very small frames are seen, and one that is a cell beside its place is found.

pytest tests/unit/gate/measures/objects/test_usual_frames.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.object_games import SIZE, games, rollouts
from tinyworlds_gate.gate.measures.objects.measure import measure_objects
from tinyworlds_gate.gate.measures.objects.usual_frames import (
    MOST,
    USUAL,
    as_shown,
    contrast_of,
    enlarged,
    enlargement_of,
)

CLIPS = 6


def clips() -> tuple[np.ndarray, np.ndarray]:
    """Return context and true frames, uint8 [N, C or S, 64, 64, 3]: two squares that move over a texture."""
    return rollouts(games(3, clips=CLIPS, scroll=False))


def measured(context: np.ndarray, true: np.ndarray, made: np.ndarray) -> dict[str, Any]:
    return measure_objects(context, true, made, np.arange(len(true)))


def still_background(context: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return frames without the moving objects: the median over time."""
    middle = np.median(np.concatenate([context, true], axis=1), axis=1).astype(np.uint8)
    return np.repeat(middle[:, None], true.shape[1], axis=1)


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(("factor", "added"), [(1.0, 0), (0.25, 0), (0.1, 0), (0.2, 150)])
def test_objects_are_seen_in_the_dark_and_in_fog(factor: float, added: int) -> None:
    context, true = ((one * factor + added).round().astype(np.uint8) for one in clips())
    exact, without = measured(context, true, true), measured(context, true, still_background(context, true))
    assert exact["no_occasion"] is None
    assert exact["recall"] == exact["precision"] == 1.0
    assert without["recall"] < 0.1


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("side", [32, 16, 8])
def test_objects_are_seen_in_very_small_frames(side: int) -> None:
    cut = SIZE // side
    context, true = (
        one.reshape(*one.shape[:2], side, cut, side, cut, 3).mean(axis=(3, 5)).round().astype(np.uint8)
        for one in clips()
    )
    exact, without = measured(context, true, true), measured(context, true, still_background(context, true))
    assert exact["no_occasion"] is None
    assert exact["recall"] == exact["precision"] == 1.0
    assert without["recall"] < 0.1
    assert all(kind["width_px"] < side / 2 for kind in exact["kinds"])


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(("by", "found"), [((0, 1), True), ((-1, 0), True), ((1, 1), True), ((0, 3), False)])
def test_what_stands_a_cell_beside_its_place_is_found_there(by: tuple[int, int], found: bool) -> None:
    context, true = clips()
    behind = still_background(context, true)
    objects = np.abs(true.astype(int) - behind).max(axis=-1, keepdims=True) > 40
    moved = np.roll(np.where(objects, true, 0), by, axis=(2, 3))
    made = np.where(np.roll(objects, by, axis=(2, 3)), moved, behind)
    record = measured(context, true, made)
    assert (record["recall"] > 0.9) is found
    if found:
        assert record["place_error"] <= np.hypot(*by) / SIZE
    if by == (1, 1):
        assert record["place_error"] > 1 / SIZE


def test_the_contrast_is_raised_about_the_middle_and_lowered_again() -> None:
    frames = np.full((3, 4, 8, 8, 3), 100, np.uint8)
    frames[:, 1::2, 2, 2] = 124
    contrast = contrast_of(frames[:, :2], frames[:, 2:])
    assert contrast.factor == USUAL / 24
    raised = contrast.raised(frames)
    assert raised.min() == pytest.approx(127.5 - USUAL / 2, abs=0.6)
    assert raised.max() == pytest.approx(127.5 + USUAL / 2, abs=0.6)
    assert contrast.lowered("#{:02x}{:02x}{:02x}".format(*raised[0, 1, 2, 2])) == "#7c7c7c"
    faint = contrast_of(frames[:, :2], frames[:, 2:] // 100 * 100)
    assert faint.factor == USUAL / 24, "the context changes too"
    hardly = np.where(frames == 124, 102, frames).astype(np.uint8)
    assert contrast_of(hardly[:, :2], hardly[:, 2:]).factor == MOST
    still = frames[:, :1]
    assert contrast_of(still, still).factor == 1
    assert contrast_of(still, still).raised(still) is still


def test_small_frames_are_enlarged_and_their_numbers_are_not() -> None:
    frames = np.arange(2 * 16 * 20 * 3, dtype=np.uint8).reshape(1, 2, 16, 20, 3)
    assert enlargement_of(frames) == 3
    larger = enlarged(frames, 3)
    assert larger.shape == (1, 2, 48, 60, 3)
    assert (larger[:, :, 1::3, 1::3] == frames).all()
    assert enlargement_of(larger) == 1
    assert [enlargement_of(np.empty((side, 4, 3))) for side in (8, 16, 17, 32, 33)] == [6, 3, 3, 2, 1]
    context = np.full((2, 2, 8, 8, 3), 100, np.uint8)
    plain = contrast_of(context, context)
    record = {"kinds": [{"width_px": 12, "colour": "#102030", "sightings": 12}], "rows": 3}
    assert as_shown(record, 3, plain) == {
        "kinds": [{"width_px": 4, "colour": "#102030", "sightings": 12}],
        "rows": 3,
    }
