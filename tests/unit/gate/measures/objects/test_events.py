"""Rare events of objects, from tracks and comparisons written down by hand.

pytest tests/unit/gate/measures/objects/test_events.py
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.helpers.object_scenes import BLUE, RED, Square, drawn, scene_of
from tinyworlds_gate.gate.measures.objects.compare import compare
from tinyworlds_gate.gate.measures.objects.events import ANY_KIND, _hits, _kind_of_track, _sightings, score_events
from tinyworlds_gate.gate.measures.objects.kinds import find_kinds
from tinyworlds_gate.gate.measures.objects.scene import Scene
from tinyworlds_gate.gate.measures.objects.tracks import APPEARS, EVENTS, STARTS, TURNS_ACROSS, Events, Sightings


def track(event: str, places: list[float], origin: float, velocity: float, since: int = 1) -> tuple[Events, Sightings]:
    """Return one object that is seen at these columns from an event on, and where it was before."""
    count = len(places)
    numbers = np.full(count, -1)
    numbers[0] = EVENTS.index(event)
    following = np.array([*range(1, count), -1])
    origins, velocities = np.full((count, 2), np.nan), np.zeros((count, 2))
    origins[0], velocities[0] = (10.0, origin), (0.0, velocity)
    zeros = np.zeros(count, int)
    where = np.array([(10.0, column) for column in places])
    seen = Sightings(zeros, np.arange(5, 5 + count), where, where * 0 + 4, zeros + 16.0, np.zeros((count, 3)))
    return Events(numbers, following, origins, velocities, np.full(count, since)), seen


def hit(found: tuple[Events, Sightings], shown: list[bool], distance: list[float]) -> bool:
    result: Any = SimpleNamespace(found=np.array(shown), distance=np.array(distance))
    return bool(_hits(*found, 0, result)[0])


NOT = [False] * 4
FAR = [np.nan] * 4


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("shown", "distance", "has"),
    [
        (NOT, FAR, False),
        ([True, False, False, False], FAR, True),
        ([False, False, True, False], FAR, True),
        ([False, False, False, True], FAR, False),
        (NOT, [2.0, np.nan, np.nan, np.nan], True),
        (NOT, [2.1, np.nan, np.nan, np.nan], False),
        (NOT, [np.nan, 4.0, np.nan, np.nan], True),
        (NOT, [np.nan, 4.1, np.nan, np.nan], False),
    ],
)
def test_a_turn_is_had_in_three_frames_in_its_place_or_nearer_than_without_it(
    shown: list[bool], distance: list[float], has: bool
) -> None:
    """It was at 20 with 2 cells a frame and turns: without the turn it would be at 20 + 2, 20 + 4, or stay at 20."""
    assert hit(track(TURNS_ACROSS, [16.0, 12.0, 8.0, 4.0], 20.0, 2.0), shown, distance) is has


@pytest.mark.requirement("G6")
def test_what_appears_counts_in_its_place_or_near_it_and_time_has_passed_since_it_was_seen() -> None:
    assert hit(track(APPEARS, [16.0], np.nan, 0.0), [False], [99.0]), "it was nowhere without the event"
    assert not hit(track(APPEARS, [16.0], np.nan, 0.0), [False], [np.nan])
    moved_on = track(STARTS, [26.0], 20.0, 2.0, since=3)
    assert not hit(moved_on, [False], [0.1]), "three frames at its velocity lead there without the event"
    assert hit(track(STARTS, [26.0], 20.0, 2.0, since=2), [False], [1.0])
    assert not hit(track(STARTS, [26.0], 20.0, 2.0, since=2), [False], [1.1])


@pytest.mark.requirement("G6")
def test_the_context_s_sightings_are_no_places_of_the_comparison() -> None:
    found, seen = track(TURNS_ACROSS, [16.0, 12.0], 20.0, 2.0)
    events, times = Events(*(np.roll(one, 1, axis=0) for one in vars(found).values())), seen
    events.following[:] = (-1, -1)
    result: Any = SimpleNamespace(found=np.array([True]), distance=np.array([0.0]))
    assert _hits(events, times, 1, result).tolist() == [False, True]


@pytest.mark.requirement("G6")
def test_all_sightings_of_an_object_are_of_its_most_frequent_kind() -> None:
    following = np.array([2, 3, 4, -1, 5, -1])
    found: Any = SimpleNamespace(event=np.zeros(6), following=following)
    kinds = _kind_of_track(found, np.array([1, 0, 1, 0]), before=2)
    assert kinds.tolist() == [1, 0, 1, 0, 1, 1], "of 2, 4 and 5 two are of kind 1"
    none = _kind_of_track(found, np.array([-1, -1, -1, -1]), before=2)
    assert none.tolist() == [ANY_KIND] * 6


def scene(columns: list[int], *more: Square) -> Scene:
    """Return a scene with one red square at these columns of the two context frames and the generated ones."""
    frames = [drawn((10, column, 4, 4, RED), *more) for column in columns]
    return scene_of(frames[0], frames[1], frames[2:])


@pytest.mark.requirement("G6")
def test_sightings_are_the_middles_against_the_background_the_context_s_first() -> None:
    moved = scene([4, 6, 8, 10])
    before, seen = _sightings(moved, moved.objects, moved.true)
    assert (before, seen.time.tolist(), seen.clip.tolist()) == (2, [-2, -1, 0, 1], [0, 0, 0, 0])
    assert seen.place.tolist() == [[11.5, 5.5], [11.5, 7.5], [11.5, 9.5], [11.5, 11.5]]
    assert (seen.size.tolist(), seen.area.tolist()) == ([[4.0, 4.0]] * 4, [16.0] * 4)
    np.testing.assert_allclose(seen.colour, [RED] * 4, atol=1e-3)
    alone = scene_of(drawn(), drawn(), [drawn((10, 4, 4, 4, RED))])
    before, seen = _sightings(alone, alone.objects, alone.true)
    assert (before, seen.time.tolist()) == (0, [0])
    scrolled = scene_of(
        drawn((10, 4, 4, 4, RED)),
        drawn((10, 4, 4, 4, RED)),
        [drawn((10, 4, 4, 4, RED))] * 2,
        offsets=np.array([[[0.0, 3.0], [1.0, 6.0]]]),
    )
    assert _sightings(scrolled, scrolled.objects, scrolled.true)[1].place[2:].tolist() == [[11.5, 2.5], [10.5, -0.5]]


def rows(true: Scene, made: list[np.ndarray]) -> list[dict[str, Any]]:
    return score_events(true, compare(true, np.stack(made)[None]), find_kinds(true), np.array([7]))


@pytest.mark.requirement("G6")
def test_an_event_has_a_row_of_its_kind_and_one_of_all_kinds() -> None:
    turning = scene([4, 6, 8, 6, 4], (24, 24, 4, 4, BLUE))
    for_all, of_kind = rows(turning, list(turning.true[0]))
    assert for_all["what"] == of_kind["what"] == TURNS_ACROSS
    assert ("colour" in for_all, of_kind["colour"]) == (False, "#dc6464")
    for row in (for_all, of_kind):
        assert (row["events"], row["found"], row["generated"], row["episodes"]) == (1, 1, 1, 1)
    straight = scene([4, 6, 8, 10, 12], (24, 24, 4, 4, BLUE))
    (missed, _) = rows(turning, list(straight.true[0]))
    assert (missed["events"], missed["found"], missed["generated"]) == (1, 0, 0)
    assert rows(straight, list(turning.true[0])) == [], "what the true frames do not have is not scored"


@pytest.mark.requirement("G6")
def test_an_object_that_appears_has_its_own_row() -> None:
    frames = [drawn((10, 4 + 2 * time, 4, 4, RED)) for time in range(5)]
    frames[3], frames[4] = (drawn((10, 4 + 2 * time, 4, 4, RED), (24, 24, 4, 4, BLUE)) for time in (3, 4))
    appearing = scene_of(frames[0], frames[1], frames[2:])
    found = {(row["what"], row.get("colour")): (row["events"], row["found"]) for row in rows(appearing, frames[2:])}
    assert found == {(APPEARS, None): (1, 1), (APPEARS, "#6464f0"): (1, 1)}
