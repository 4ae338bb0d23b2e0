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
    ],
    ids=["straight", "left", "up", "starts", "rests, then turns", "trembles", "hidden while it turned", "appears"],
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
