"""Faults concentrated in steps, places or single objects, in generated frames; healthy models beside them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.helpers.object_games import CONTEXT, SIZE, STEPS, Game, games, rollouts
from tinyworlds_gate.gate.measures.objects.measure import measure_objects
from tinyworlds_gate.gate.object_rule import judge_objects
from tinyworlds_gate.names import FAIL, PASS

CLIPS = 20
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Of the generated places [S, objects, 2] on the screen; below 0: the object is not drawn."""


@cache
def played(seed: int) -> tuple[list[Game], np.ndarray, np.ndarray]:
    clips = games(seed, clips=CLIPS, scroll=False)
    return clips, *rollouts(clips)


def judged(change: Change, seed: int = 11) -> tuple[str, str]:
    clips, context, true = played(seed)
    made = []
    for number, clip in enumerate(clips):
        view = clip.view[:, None]
        generated = change((clip.places - view)[CONTEXT:].copy(), np.random.default_rng([seed, number]))
        places = np.concatenate(
            [
                np.broadcast_to(clip.places[:CONTEXT, :1], (CONTEXT, generated.shape[1], 2)).copy(),
                np.where(generated < 0, -1, generated + view[CONTEXT:]),
            ]
        )
        colours = (clip.colours * 2)[: generated.shape[1]]
        made.append(replace(clip, places=places, colours=colours).frames()[CONTEXT:])
    return judge_objects(measure_objects(context, true, np.stack(made), np.arange(CLIPS)), 0.9)


def gone(steps: slice) -> Change:
    def change(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        places[steps, 0] = -1
        return places

    return change


def stuck_at_the_end(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    places[-2:, 0] = places[-3, 0]
    return places


def doubled_at_the_end(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    second = (places[:, :1] + SIZE // 2) % (SIZE - 6)
    second[:-2] = -1
    return np.concatenate([places, second], axis=1)


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (gone(slice(-2, None)), "in steps 11 to 12: 0 % of [0-9]+ found, 100 % in the steps beside them"),
        pytest.param(gone(slice(5, None, 6)), "in every 6th step from step 6 on: 0 % of ", marks=pytest.mark.slow),
        pytest.param(gone(slice(3, 5)), "in steps 4 to 5: 0 % of ", marks=pytest.mark.slow),
        pytest.param(stuck_at_the_end, "in steps 11 to 12: .* found", marks=pytest.mark.slow),
        pytest.param(doubled_at_the_end, "in steps 11 to 12: .* generated ones right", marks=pytest.mark.slow),
    ],
    ids=["last two", "every 6th", "middle", "stuck", "doubled"],
)
def test_a_concentrated_fault_fails_and_is_named(change: Change, says: str) -> None:
    verdict, reason = judged(change)
    assert verdict == FAIL
    assert re.search(f"objects of about 9 x 9 px, colour about #c7433b {says}", reason), reason


def drifting(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    places[..., 0] += np.rint(0.08 * np.arange(STEPS)).astype(int)[:, None]
    return places


def losing(share: np.ndarray) -> Change:
    def change(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        places[rng.random(places.shape[:2]) < share[:, None]] = -1
        return places

    return change


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    "change",
    [
        losing(np.full(STEPS, 0.05)),
        pytest.param(losing(np.linspace(0, 0.1, STEPS)), marks=pytest.mark.slow),
        pytest.param(drifting, marks=pytest.mark.slow),
    ],
    ids=["at random", "later more", "drifting"],
)
def test_a_healthy_model_passes(change: Change) -> None:
    verdict, reason = judged(change)
    assert verdict == PASS, reason


DOTS, FIELD, SIDE = 18, 128, 4


def swarm(wrong: str = "", *, clips: int = 10) -> np.ndarray:
    """Return clips of equal dots that bounce about; one of them is wrong from the context on, [N, T, H, W, 3]."""
    rng = np.random.default_rng(3)
    most, time = FIELD - SIDE, np.arange(CONTEXT + STEPS)[:, None, None]
    drawn = np.full((clips, CONTEXT + STEPS, FIELD, FIELD, 3), (20, 30, 60), np.uint8)
    for frames in drawn:
        speed = rng.uniform(2, 4, (DOTS, 2)) * rng.choice([-1, 1], (DOTS, 2))
        run = rng.uniform(0, most, (DOTS, 2)) + speed * time
        places = (most - np.abs(run % (2 * most) - most)).astype(int)
        if wrong == "frozen":
            places[CONTEXT:, 0] = places[CONTEXT - 1, 0]
        for number, (frame, corners) in enumerate(zip(frames, places, strict=True)):
            future = number >= CONTEXT
            corners = corners[1:] if future and wrong == "missing" else corners
            more = (corners[:1] + FIELD // 2) % most if future and wrong == "doubled" else corners[:0]
            for top, left in (*corners, *more):
                frame[top : top + SIDE, left : left + SIDE] = 230
    return drawn


@pytest.mark.slow
@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("wrong", "says"),
    [("missing", "are not found"), ("frozen", "are not found"), ("doubled", "are shown where the true frames show")],
)
def test_one_of_many_equal_objects_that_is_wrong_in_every_clip_fails(wrong: str, says: str) -> None:
    true, made = swarm(), swarm(wrong)
    record = measure_objects(true[:, :CONTEXT], true[:, CONTEXT:], made[:, CONTEXT:], np.arange(len(true)))
    verdict, reason = judge_objects(record, 0.9)
    assert verdict == FAIL
    assert f"as many objects {says}" in reason, reason
