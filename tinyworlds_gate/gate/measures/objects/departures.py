"""Find objects that depart from where their motion and looks lead: they vanish, or change speed, colour or size.

Axes: N clips, S frames, h x w cells, R sightings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinyworlds_gate.gate.measures.objects.kinds import COLOUR_APART, SIZE_APART
from tinyworlds_gate.gate.measures.objects.regions import Regions
from tinyworlds_gate.gate.measures.objects.scene import Scene
from tinyworlds_gate.gate.measures.objects.tracks import EVENTS, MOST_GAP, REACH, STARTS, Events, Sightings

VANISHES, RECOLOURS, RESIZES, VEERS = "vanish", "change colour", "change size", "change speed"
DEPARTURES = (VANISHES, RECOLOURS, RESIZES, VEERS)
LASTS = 3
"""Frames for which an object is gone, looks otherwise or moves otherwise."""
LEAST_SIGHTINGS = 2
"""Sightings that show how an object moves and looks before it departs from it."""
DEPARTS = 2.5
"""Cells between an object and its extrapolated place, three frames on: whole pixels make two of slow motions."""
SAME = 0.25
"""Share of its squared contrast by which an object may look otherwise than one sighting before."""
STEADY = 1.0
"""Cells a frame by which the steps of a steady motion differ, since places are whole pixels."""
BARE = 0.25
"""Share of an object's squared contrast that may be where it has vanished."""
OVERLAP = 0.5
"""Share of the smaller box that the larger one covers where both are one object."""
MARGIN = 1
"""Cells to the edge of the frame, where an object leaves it and does not vanish."""


@dataclass(frozen=True)
class View:
    """Frames and the objects found in them."""

    seen: Sightings
    events: Events
    before: int
    """Sightings of the context, which come first."""
    regions: Regions
    """Of the other sightings, in frames ``clip * S + step``."""
    contrast: np.ndarray
    """float32 [N, S, h, w, 3]: difference from the background."""

    @cached_property
    def tracks(self) -> list[list[int]]:
        """The sightings of each object, in order."""
        following = self.events.following
        first = np.ones(len(following), bool)
        first[following[following >= 0]] = False
        tracks = []
        for one in np.flatnonzero(first):
            track = [int(one)]
            while following[track[-1]] >= 0:
                track.append(int(following[track[-1]]))
            tracks.append(track)
        return tracks

    def cells(self, sighting: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the cells (row, column) of a sighting after the context, int [A, 2], and its contrast [A, 3]."""
        number = sighting - self.before
        frame, top, left = (int(one[number]) for one in (self.regions.frame, self.regions.top, self.regions.left))
        box = np.s_[top : top + self.regions.height[number], left : left + self.regions.width[number]]
        inside = np.argwhere(self.regions.labels[frame][box] == number + 1) + np.array([top, left])
        clip, step = divmod(frame, self.contrast.shape[1])
        return inside, self.contrast[clip, step][tuple(inside.T)]

    def middle(self, sighting: int) -> np.ndarray:
        """Return the middle cell (row, column) of a sighting on the screen, int [2]."""
        one = sighting - self.before
        corner = np.array([self.regions.top[one], self.regions.left[one]])
        middle: np.ndarray = corner + np.array([self.regions.height[one], self.regions.width[one]]) // 2
        return middle


@dataclass(frozen=True)
class Departure:
    """What an object does that its past does not explain."""

    what: int
    """A place in ``DEPARTURES``."""
    last: int
    """Its last sighting before."""
    times: tuple[int, ...]
    """Frames that show it."""
    moves: np.ndarray
    """float [T, 2]: by how far it would have moved until each of these frames without the departure, in cells."""
    after: tuple[int, ...]
    """The sighting of the object in each of these frames; -1: it is gone."""


def find_departures(scene: Scene, view: View) -> list[Departure]:
    """Return the departures of all tracks."""
    seen = view.seen
    of_clip: dict[int, list[list[int]]] = {}
    for track in view.tracks:
        of_clip.setdefault(int(seen.clip[track[0]]), []).append(track)
    found = []
    for tracks in of_clip.values():
        for track in tracks:
            found += _veers(view, track)
            is_known = len(track) >= LEAST_SIGHTINGS and 0 <= seen.time[track[-1]] < scene.shape[1] - LASTS
            if is_known and _is_steady(view, track) and _parents(view, track, tracks) < 2:
                found += _end(scene, view, track, tracks)
    return found


def moved_cells(scene: Scene, seen: Sightings, one: int, move: np.ndarray, time: int) -> np.ndarray:
    """Return by how many cells of the screen a sighting has moved at a later frame, int [2]; ``move`` is its own."""
    clip, step = seen.clip[one], int(seen.time[one])
    scrolled = scene.offsets[clip, time] - (scene.offsets[clip, step] if step >= 0 else scene.context[2][clip, step])
    moved: np.ndarray = np.rint(move + scrolled).astype(int)
    return moved


def _velocity(view: View, track: list[int], number: int) -> np.ndarray:
    """Cells a frame over up to three steps before this sighting of a track, since it last turned."""
    seen, first = view.seen, number
    while first > max(0, number - LASTS) and (first == number or view.events.event[track[first]] < 0):
        first -= 1
    one, other = track[first], track[number]
    velocity: np.ndarray = (seen.place[other] - seen.place[one]) / max(1, seen.time[other] - seen.time[one])
    return velocity


def _veers(view: View, track: list[int]) -> list[Departure]:
    """The places where a track leaves its line for good, without a turn."""
    found, free, off = [], -1, {}
    for number in range(LEAST_SIGHTINGS, len(track) - 1):
        veer = _veer(view, track, number)
        if veer is not None:
            off[number] = veer
    for number, (apart, departure) in off.items():
        most = max(off[other][0] for other in range(number, number + LASTS) if other in off)
        if number > free and apart == most:
            free = number + LASTS
            found.append(departure)
    return found


def _veer(view: View, track: list[int], number: int) -> tuple[float, Departure] | None:
    """How far a track is from its line three frames after a sighting, on an axis on which it does not turn."""
    seen, last = view.seen, track[number]
    ahead = [one for one in track[number + 1 : number + 2 + LASTS] if seen.time[one] <= seen.time[last] + LASTS + 1]
    if seen.time[last] < -1 or not ahead or seen.time[ahead[-1]] < seen.time[last] + LASTS:
        return None
    window = [*track[number - LEAST_SIGHTINGS : number + 1], *ahead]
    steps = np.diff(seen.place[window], axis=0) / np.diff(seen.time[window])[:, None]
    past, rest = steps[:LEAST_SIGHTINGS], steps[LEAST_SIGHTINGS:]
    velocity = (seen.place[last] - seen.place[window[0]]) / (seen.time[last] - seen.time[window[0]])
    is_straight = ((steps >= 0).all(axis=0) | (steps <= 0).all(axis=0)) & (np.ptp(past, axis=0) <= STEADY)
    others = (rest - velocity) * np.sign(rest.mean(axis=0) - velocity)
    is_straight &= (others >= DEPARTS / LASTS - STEADY / 2).all(axis=0)
    moves = seen.place[ahead] - seen.place[last]
    due = np.where(is_straight, velocity * (seen.time[ahead] - seen.time[last])[:, None], moves)
    apart = float(np.abs(moves - due)[-1].max())
    if apart < DEPARTS or (view.events.event[[last, *ahead]] == EVENTS.index(STARTS)).any():
        return None
    times = tuple(int(one) for one in seen.time[ahead])
    return apart, Departure(DEPARTURES.index(VEERS), last, times, due, tuple(ahead))


def _end(scene: Scene, view: View, track: list[int], tracks: list[list[int]]) -> list[Departure]:
    """What becomes of a track that ends: nothing, or one with other looks in its place."""
    seen, last = view.seen, track[-1]
    velocity = _velocity(view, track, len(track) - 1)
    begun = [other for other in tracks if 0 < seen.time[other[0]] - seen.time[last] <= MOST_GAP + LASTS]
    heirs = [
        other
        for other in begun
        if seen.time[other[0]] - seen.time[last] <= MOST_GAP
        and seen.time[other[-1]] - seen.time[other[0]] >= LASTS - 1
        and _overlap(seen, last, velocity, other[0]) >= OVERLAP
    ]
    if heirs:
        now = [one for other in tracks for one in other if seen.time[one] == seen.time[heirs[0][0]]]
        is_one = sum(_overlap(seen, last, velocity, one) >= OVERLAP for one in now) == 1
        is_changed = is_one and len(heirs) == 1 and _parents(view, heirs[0], tracks) == 1
        return [_changed(view, last, velocity, heirs[0])] if is_changed else []
    same = {int(seen.time[one]) for other in begun for one in other if _is_same(seen, last, velocity, one)}
    for first in range(int(seen.time[last]) + 1, min(int(seen.time[last]) + MOST_GAP, scene.shape[1] - LASTS) + 1):
        times = tuple(range(first, first + LASTS))
        bare = [_is_bare(scene, view, last, velocity, time) for time in times]
        if bare[0] and False not in bare and same.isdisjoint(times):
            moves = velocity * (np.array(times) - seen.time[last])[:, None]
            return [Departure(DEPARTURES.index(VANISHES), last, times, moves, (-1,) * LASTS)]
    return []


def _is_steady(view: View, track: list[int]) -> bool:
    """Whether an object looked the same the last two times: where two that touch are one region, it does not."""
    before, last = track[-2:]
    if view.seen.time[before] < 0:
        return True
    cells, looks = view.cells(before)
    cells = cells + view.middle(last) - view.middle(before)
    if is_outside(cells, view.contrast.shape[2:4], 0):
        return True
    here = view.contrast[view.seen.clip[last], view.seen.time[last]][tuple(cells.T)]
    return bool(np.square(here - looks).sum() <= SAME * np.square(looks).sum())


def _parents(view: View, track: list[int], tracks: list[list[int]]) -> int:
    """The number of tracks that end, or pause, where this one begins: of two it is what hides them."""
    seen, first = view.seen, track[0]
    count = 0
    for other in tracks:
        earlier = [number for number, one in enumerate(other) if seen.time[one] < seen.time[first]]
        is_here = any(seen.time[one] == seen.time[first] for one in other)
        is_object = len(earlier) >= LEAST_SIGHTINGS and _is_steady(view, other[: len(earlier)])
        if is_object and not is_here and seen.time[first] - seen.time[other[earlier[-1]]] <= MOST_GAP:
            velocity = _velocity(view, other, earlier[-1])
            count += _overlap(seen, other[earlier[-1]], velocity, first) >= OVERLAP
    return count


def _changed(view: View, last: int, velocity: np.ndarray, heir: list[int]) -> Departure:
    seen = view.seen
    apart = float(np.linalg.norm(seen.colour[heir[0]] - seen.colour[last]))
    what = RECOLOURS if apart > COLOUR_APART else RESIZES
    after = [one for one in heir if seen.time[one] < seen.time[heir[0]] + LASTS]
    times = tuple(int(seen.time[one]) for one in after)
    moves = velocity * (seen.time[after] - seen.time[last])[:, None]
    return Departure(DEPARTURES.index(what), last, times, moves, tuple(after))


def _overlap(seen: Sightings, last: int, velocity: np.ndarray, other: int) -> float:
    """Share of the smaller of two boxes that the other one covers, after the first has moved on."""
    place = seen.place[last] + velocity * (seen.time[other] - seen.time[last])
    low = np.maximum(place - seen.size[last] / 2, seen.place[other] - seen.size[other] / 2)
    high = np.minimum(place + seen.size[last] / 2, seen.place[other] + seen.size[other] / 2)
    smaller = min(seen.size[last].prod(), seen.size[other].prod())
    return float(np.maximum(high - low, 0).prod() / smaller)


def _is_same(seen: Sightings, last: int, velocity: np.ndarray, other: int) -> bool:
    """Whether a later sighting may be the same object, which was hidden."""
    gap = seen.time[other] - seen.time[last]
    off = np.abs(seen.place[other] - seen.place[last] - velocity * gap).max()
    ratio = seen.area[other] / seen.area[last]
    alike = np.linalg.norm(seen.colour[other] - seen.colour[last]) <= COLOUR_APART
    return bool(off <= max(REACH, 2 * gap * np.abs(velocity).max()) and alike and 1 / SIZE_APART <= ratio <= SIZE_APART)


def _is_bare(scene: Scene, view: View, last: int, velocity: np.ndarray, time: int) -> bool | None:
    """Whether the place to which an object would have moved shows the background; None: outside, or not judged."""
    cells, contrast = view.cells(last)
    cells = cells + moved_cells(scene, view.seen, last, velocity * (time - view.seen.time[last]), time)
    if is_outside(cells, scene.shape[2:]):
        return None
    clip, here = view.seen.clip[last], tuple(cells.T)
    if not scene.judged[clip, time][here].all():
        return None
    return bool(np.square(view.contrast[clip, time][here]).sum() <= BARE * np.square(contrast).sum())


def is_outside(cells: np.ndarray, size: tuple[int, ...], margin: int = MARGIN) -> bool:
    """Return whether some cells [A, 2] are beyond the frame of this height and width, or at its edge."""
    return bool((cells < margin).any() or (cells >= np.array(size) - margin).any())
