"""Link the sightings of an object from frame to frame, and find where it appears, turns or starts to move.

Axes: R sightings.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tinyworlds_gate.gate.measures.objects.kinds import COLOUR_APART, SIZE_APART

APPEARS, TURNS_ACROSS, TURNS_DOWN, STARTS = "appear", "turn left or right", "turn up or down", "start to move"
EVENTS = (APPEARS, TURNS_ACROSS, TURNS_DOWN, STARTS)
GROWS = (2.0, 0.15)
"""Cells, or share, by which height or width of an object may change: more, and it touches another one."""
MOST_GAP = 4
"""Frames after which an object that was hidden (it touched another one) is linked to its last sighting."""
MEMORY = 6
"""Frames for which an object that rests still has the direction in which it moved."""
MOVES = 1.25
"""Cells a frame: slower objects have no direction."""
JUMPS = 1.5
"""Cells by which an object that rested starts to move."""
EXPLAINED = 1.5
"""Cells beside the extrapolated place at which an object needs no other explanation."""
REACH = 6.0
"""Cells a frame within which an object is searched, or twice its speed."""
BESIDE = 2.0
"""Cells around another object from which one does not appear: it was hidden."""


@dataclass(frozen=True)
class Sightings:
    """Objects of all clips; places are against the background, so that scrolling is no motion."""

    clip: np.ndarray
    """int [R]."""
    time: np.ndarray
    """int [R]: 0 is the first generated frame, the context is before it."""
    place: np.ndarray
    """float [R, 2]: middle (row, column), in cells."""
    size: np.ndarray
    """float [R, 2]: height and width, in cells."""
    area: np.ndarray
    """float [R]."""
    colour: np.ndarray
    """float [R, 3]."""

    def __len__(self) -> int:
        return len(self.clip)


@dataclass(frozen=True)
class Events:
    """What the motion so far does not explain."""

    event: np.ndarray
    """int [R]: a place in ``EVENTS``; -1: none."""
    following: np.ndarray
    """int [R]: the next sighting of the object; -1: there is none."""
    origin: np.ndarray
    """float [R, 2]: where the object was before the event; NaN where it was nowhere."""
    velocity: np.ndarray
    """float [R, 2]: cells a frame, before the event."""
    since: np.ndarray
    """int [R]: frames since it was at the origin."""


@dataclass
class _Track:
    last: int
    time: int
    place: np.ndarray
    velocity: np.ndarray | None = None
    direction: np.ndarray = field(default_factory=lambda: np.zeros(2))
    directed: np.ndarray = field(default_factory=lambda: np.full(2, -99))


def find_events(seen: Sightings) -> Events:
    """Return the events of each sighting; those of the context are none."""
    count = len(seen)
    found = Events(
        np.full(count, -1), np.full(count, -1), np.full((count, 2), np.nan), np.zeros((count, 2)), np.ones(count, int)
    )
    for clip in np.unique(seen.clip):
        _follow(seen, np.flatnonzero(seen.clip == clip), found)
    return found


def _follow(seen: Sightings, members: np.ndarray, found: Events) -> None:
    """Fill in the events of one clip."""
    tracks: list[_Track] = []
    first = seen.time[members].min()
    for time in np.unique(seen.time[members]):
        here = members[seen.time[members] == time]
        tracks = [track for track in tracks if time - track.time <= MOST_GAP]
        pairs = sorted(
            (cost, number, one)
            for number, track in enumerate(tracks)
            for one in here
            if (cost := _cost(seen, track, one, time)) is not None
        )
        linked: dict[int, int] = {}
        for _, number, one in pairs:
            if number not in linked.values() and one not in linked:
                linked[one] = number
        before = members[(seen.time[members] < time) & (seen.time[members] >= time - MOST_GAP)]
        started = []
        for one in here:
            if one in linked:
                _go_on(seen, tracks[linked[one]], one, time, found)
            else:
                started.append(_Track(one, time, seen.place[one]))
                if time >= 0 and time > first and not _was_hidden(seen, one, before):
                    found.event[one] = EVENTS.index(APPEARS)
        tracks += started


def _cost(seen: Sightings, track: _Track, one: int, time: int) -> float | None:
    """How far a sighting is from where the track leads, in cells; None: it is another object."""
    ratio = seen.area[one] / seen.area[track.last]
    grown = np.abs(seen.size[one] - seen.size[track.last]) > np.maximum(GROWS[0], GROWS[1] * seen.size[track.last])
    if not 1 / SIZE_APART <= ratio <= SIZE_APART or grown.any():
        return None
    if np.linalg.norm(seen.colour[one] - seen.colour[track.last]) > COLOUR_APART:
        return None
    gap = time - track.time
    velocity = np.zeros(2) if track.velocity is None else track.velocity
    moved = float(np.abs(seen.place[one] - track.place).max())
    if moved > gap * max(REACH, 2 * float(np.abs(velocity).max())):
        return None
    off = float(np.abs(seen.place[one] - track.place - velocity * gap).max())
    return off if off <= EXPLAINED else EXPLAINED + min(off, moved)


def _go_on(seen: Sightings, track: _Track, one: int, time: int, found: Events) -> None:
    gap = time - track.time
    velocity = (seen.place[one] - track.place) / gap
    moves = np.abs(velocity) >= MOVES
    known = time - track.directed <= MEMORY
    turns = moves & known & (np.sign(velocity) != np.sign(track.direction))
    if time >= 0 and track.velocity is not None:
        if turns.any():
            found.event[one] = EVENTS.index(TURNS_ACROSS if turns[1] else TURNS_DOWN)
        elif not known.any() and np.abs(velocity).max() * gap >= JUMPS:
            found.event[one] = EVENTS.index(STARTS)
    found.following[track.last] = one
    found.origin[one] = track.place
    found.velocity[one] = 0 if track.velocity is None else np.where(known, track.direction, 0)
    found.since[one] = gap
    track.direction = np.where(moves, velocity, track.direction)
    track.directed = np.where(moves, time, track.directed)
    track.last, track.time, track.place, track.velocity = one, time, seen.place[one], velocity


def _was_hidden(seen: Sightings, one: int, before: np.ndarray) -> bool:
    """Whether another object lay beside this place in the frames before."""
    apart = np.abs(seen.place[before] - seen.place[one]) - (seen.size[before] + seen.size[one]) / 2
    return bool((apart <= BESIDE).all(axis=1).any())
