"""Events of tracks: an object that turns, appears or starts to move, and what is none of these."""

from __future__ import annotations

import numpy as np
import pytest

from tinyworlds_gate.gate.measures.objects.tracks import (
    APPEARS,
    EVENTS,
    STARTS,
    TURNS_ACROSS,
    TURNS_DOWN,
    Sightings,
    find_events,
)

Row = tuple[int, float, float]
"""Time, row and column of a sighting."""


def seen(*rows: Row, size: float = 4.0) -> Sightings:
    count = len(rows)
    times, places = np.array([row[0] for row in rows]), np.array([row[1:] for row in rows])
    sizes = np.full((count, 2), size)
    return Sightings(np.zeros(count, int), times, places, sizes, sizes[:, 0] * sizes[:, 1], np.full((count, 3), 200.0))


def events(sightings: Sightings) -> list[tuple[int, str]]:
    found = find_events(sightings).event
    return [(int(sightings.time[one]), EVENTS[found[one]]) for one in np.flatnonzero(found >= 0)]


def line(*columns: float, row: float = 10.0, first: int = -2) -> list[Row]:
    return [(first + number, row, column) for number, column in enumerate(columns)]


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (line(10, 12, 14, 16, 18), []),
        (line(10, 12, 14, 12, 10), [(1, TURNS_ACROSS)]),
        ([(t, c, r) for t, r, c in line(10, 12, 14, 12, 10)], [(1, TURNS_DOWN)]),
        (line(10, 10, 10, 13, 16), [(1, STARTS)]),
        (line(10, 12, 12, 12, 10), [(2, TURNS_ACROSS)]),
        (line(10, 11, 10, 11, 10), []),
        ([*line(10, 12), (3, 10, 12), (4, 10, 10)], [(4, TURNS_ACROSS)]),
        ([*line(10, 12, 14), *line(40, 42, first=1)], [(1, APPEARS)]),
        ([*line(10, 12, 14, 16), *line(40, 42, first=0)], [(0, APPEARS)]),
        ([*line(10, 12, 14, 16), *line(40, 42, first=-1)], []),
        ([*line(10, 12, first=0), *line(40, 42, first=0)], []),
    ],
    ids=[
        *("straight", "left", "up", "starts", "rests, then turns", "trembles", "hidden while it turned", "appears"),
        *("appears at once", "appears in the context", "is there from the start"),
    ],
)
def test_an_event_is_what_the_motion_so_far_does_not_explain(rows: list[Row], expected: list[tuple[int, str]]) -> None:
    assert events(seen(*rows)) == expected


def test_an_object_that_was_hidden_by_another_one_does_not_appear() -> None:
    wall = [(time, 10.0, 30.0) for time in range(-2, 4)]
    both = seen(*wall, (3, 10.0, 34.0))
    both.colour[-1] = 0.0
    assert events(both) == []
    far = seen(*wall, (3, 10.0, 45.0))
    far.colour[-1] = 0.0
    assert events(far) == [(3, APPEARS)]


def test_an_event_knows_where_the_object_was_and_how_fast() -> None:
    found = find_events(seen(*line(10, 12, 14, 12)))
    assert found.origin[3].tolist() == [10, 14]
    assert found.velocity[3].tolist() == [0, 2]
    assert found.following.tolist() == [1, 2, 3, -1]


def follows(first: Row, second: Row, **changes: float) -> bool:
    """Return whether the second sighting is linked to the first; ``changes``: of height, width, area or red."""
    both = seen(first, second, size=changes.pop("size", 4.0))
    both.size[1] += (changes.get("height", 0.0), changes.get("width", 0.0))
    both.area[1] *= changes.get("area", 1.0)
    both.colour[1, 0] += changes.get("red", 0.0)
    return bool(find_events(both).following[0] == 1)


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("changes", "linked"),
    [
        ({"area": 2.0}, True),
        ({"area": 2.01}, False),
        ({"area": 0.5}, True),
        ({"area": 0.49}, False),
        ({"height": 2.0}, True),
        ({"height": 2.1}, False),
        ({"width": -2.0}, True),
        ({"width": -2.1}, False),
        ({"size": 20.0, "width": 2.9}, True),
        ({"size": 20.0, "width": 3.1}, False),
        ({"red": 48.0}, True),
        ({"red": -49.0}, False),
    ],
)
def test_an_object_keeps_about_its_size_and_colour(changes: dict[str, float], linked: bool) -> None:
    assert follows((0, 10.0, 10.0), (1, 10.0, 11.0), **changes) is linked


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("rows", "linked"),
    [
        ([(0, 10.0, 10.0), (1, 10.0, 16.0)], True),
        ([(0, 10.0, 10.0), (1, 10.0, 16.1)], False),
        ([(0, 10.0, 10.0), (1, 16.1, 10.0)], False),
        ([(0, 10.0, 10.0), (2, 10.0, 22.0)], True),
        ([(0, 10.0, 10.0), (4, 10.0, 10.0)], True),
        ([(0, 10.0, 10.0), (5, 10.0, 10.0)], False),
        ([(0, 10.0, 10.0), (1, 10.0, 14.0), (2, 10.0, 22.0)], True),
        ([(0, 10.0, 10.0), (1, 10.0, 14.0), (2, 10.0, 22.1)], False),
    ],
)
def test_an_object_is_searched_as_far_as_it_may_have_moved(rows: list[Row], linked: bool) -> None:
    assert (find_events(seen(*rows)).following[-2] == len(rows) - 1) == linked


@pytest.mark.requirement("G6")
def test_each_sighting_is_linked_once() -> None:
    two = find_events(seen((0, 10, 10), (0, 10, 14), (1, 10, 12), (1, 10, 16)))
    assert two.following.tolist() == [2, 3, -1, -1]
    split = find_events(seen((0, 10, 10), (1, 10, 10), (1, 10, 15)))
    assert split.following.tolist() == [1, -1, -1]
    assert np.isnan(split.origin[2]).all()
    moving = find_events(seen((0, 10, 10), (0, 10, 19), (1, 10, 14), (1, 10, 23), (2, 10, 18), (2, 10, 27)))
    assert moving.following.tolist() == [2, 3, 4, 5, -1, -1], "by where the motion so far leads"


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([*line(10, 10, 10, 10), (4, 10.0, 12.0)], [(4, STARTS)]),
        (line(10, 10, 10, 11.5, 13), [(1, STARTS)]),
        (line(10, 10, 10, 11.4, 12.8), []),
        (line(10, 11.25, 12.5, 11.25), [(1, TURNS_ACROSS)]),
        (line(10, 11.25, 12.5, 11.3), []),
        (line(10, 12, *[12] * 6, 10), [(6, STARTS)]),
        (line(10, 12, *[12] * 5, 10), [(5, TURNS_ACROSS)]),
    ],
    ids=["jumps while hidden", "1.5 cells", "1.4 cells", "1.25 cells", "slower", "forgotten", "remembered"],
)
def test_motion_has_a_least_speed_and_is_remembered_for_six_frames(
    rows: list[Row], expected: list[tuple[int, str]]
) -> None:
    assert events(seen(*rows)) == expected


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(("column", "appears"), [(36.0, False), (36.1, True), (24.0, False), (23.9, True)])
def test_an_object_is_hidden_up_to_two_cells_beside_another(column: float, appears: bool) -> None:
    both = seen(*((time, 10.0, 30.0) for time in range(-2, 4)), (3, 10.0, column))
    both.colour[-1] = 0.0
    assert events(both) == ([(3, APPEARS)] if appears else [])


def test_the_speed_before_an_event_is_that_of_a_frame_and_none_at_first() -> None:
    found = find_events(seen((-2, 10, 10), (-1, 10, 12), (1, 10, 16), (2, 10, 18)))
    assert found.velocity.tolist() == [[0, 0], [0, 0], [0, 2], [0, 2]]
    assert found.since.tolist() == [1, 1, 2, 1]
