"""Faults concentrated in steps, places, kinds or single objects: counted without frames, healthy models beside them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.helpers.object_losses import HEALTHY, SETS, Model, faults
from tinyworlds_gate.gate.measures.objects.slices import quantile

SEEDS = 8


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("name", HEALTHY)
def test_no_healthy_model_has_a_hole(name: str) -> None:
    for seed in range(SEEDS):
        assert faults(seed, HEALTHY[name], *SETS[seed % len(SETS)]) == []


def hole(where: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], noise: float = 0.04) -> Model:
    """Return a model that loses all objects there and a few at random; from row, column, step and object."""

    def model(rng: np.random.Generator, places: np.ndarray, bounces: np.ndarray) -> np.ndarray:
        indices = np.indices(bounces.shape)
        step, which = indices[1], indices[2]
        return where(places, step, which) | (rng.random(bounces.shape) < noise)

    return model


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("where", "clips", "says"),
    [
        (lambda places, step, which: step >= 10, 12, "in steps 11 to 12: 0 % of "),
        (lambda places, step, which: step == 11, 20, "in step 12: 0 % of "),
        (lambda places, step, which: (step >= 4) & (step < 6), 20, "in steps 5 to 6: 0 % of "),
        (
            lambda places, step, which: (step >= 10) & (which % 2 == 0),
            24,
            "colour about #ff0000 in steps 11 to 12: 0 %",
        ),
        (lambda places, step, which: step % 6 == 5, 12, "in every 6th step from step 6 on: 0 % of "),
        (lambda places, step, which: step % 4 == 1, 12, "in every 4th step from step 2 on: 0 % of "),
        (lambda places, step, which: places[..., 1] < 0.125, 24, "in columns 0 to 7 and rows 0 to 63: 0 % of "),
        (lambda places, step, which: places[..., 0] >= 0.75, 24, "in columns 0 to 63 and rows 48 to 63: 0 % of "),
        (
            lambda places, step, which: (places > 0.75).all(axis=-1),
            64,
            "in columns 48 to 63 and rows 48 to 63: 0 % of ",
        ),
        (
            lambda places, step, which: (np.abs(places - 0.5) > 0.375).any(axis=-1),
            24,
            "outside of columns 8 to 55 and rows 8 to 55: 0 % of ",
        ),
    ],
    ids=["last two", "last", "middle", "one kind at the end", "6th", "4th", "left", "bottom", "corner", "edges"],
)
def test_a_hole_in_steps_or_places_fails_and_is_named(where: Callable[..., np.ndarray], clips: int, says: str) -> None:
    for seed in range(3):
        (found,) = faults(seed, hole(where), clips, 2, 1)
        assert says in found


@pytest.mark.requirement("G6")
def test_a_hole_in_five_episodes_is_enough() -> None:
    found = faults(0, hole(lambda places, step, which: step >= 9, noise=0.0), 5, 2, 1)
    assert "in steps 10 to 12: 0 % of 30 found, 100 % in the steps beside them" in found[0]
    assert faults(0, hole(lambda places, step, which: step >= 10, noise=0.0), 5, 2, 1) == []


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(("clips", "objects"), [(8, 12), (40, 12), (40, 20)])
def test_one_of_many_objects_that_every_clip_lacks_fails(clips: int, objects: int) -> None:
    (found,) = faults(0, hole(lambda places, step, which: which == 0, noise=0.0), clips, objects, 1)
    assert found.startswith(
        f"as many objects are not found in every clip: 1 in each frame, in {clips} of {clips} clips"
    )


@pytest.mark.requirement("G6")
def test_one_object_too_few_for_half_a_clip_is_not_systematic() -> None:
    assert faults(0, hole(lambda places, step, which: (which == 0) & (step < 5), noise=0.0), 40, 12, 1) == []


def test_the_quantile_is_that_of_student() -> None:
    exact = {(7, 0.001): 4.785, (11, 0.001): 4.025, (39, 0.005): 2.708, (5, 0.005): 4.032}
    for (freedom, level), value in exact.items():
        assert quantile(np.array(freedom), level) == pytest.approx(value, rel=0.01)
