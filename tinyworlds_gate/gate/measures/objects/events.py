"""Score what is rare: objects that appear, turn or start to move, which an average over all sightings hides.

Axes: N clips, S generated frames, R true objects, E generated objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.baselines import context_objects
from tinyworlds_gate.gate.measures.objects.compare import Comparison
from tinyworlds_gate.gate.measures.objects.departures import DEPARTURES, View, find_departures
from tinyworlds_gate.gate.measures.objects.departures_had import has_departure
from tinyworlds_gate.gate.measures.objects.kinds import Kinds, colours_of, features_of
from tinyworlds_gate.gate.measures.objects.rare import rare_share
from tinyworlds_gate.gate.measures.objects.regions import Regions
from tinyworlds_gate.gate.measures.objects.scene import Scene
from tinyworlds_gate.gate.measures.objects.tracks import APPEARS, EVENTS, Events, Sightings, find_events

AFTERMATH = 3
"""Frames from an event on in which the object may be found."""
NEARER = 0.5
"""Share of the distance to the place without the event, within which an object has had it."""
ANY_KIND = -1


def score_events(scene: Scene, result: Comparison, kinds: Kinds, episodes: np.ndarray) -> list[dict[str, Any]]:
    """Return a row for each event and kind, and for each event of all kinds together.

    Each has the number of true ``events``, how many the generated frames have in their place (``found``) and how many
    of this sort they have anywhere (``generated``).
    """
    before, true = _sightings(scene, scene.objects, scene.true)
    found = find_events(true)
    _, made = _sightings(scene, result.shown, result.cells)
    generated = find_events(made)
    hits = _hits(found, true, before, result)
    of_true = _kind_of_track(found, kinds.number, before)
    of_made = _kind_of_track(generated, kinds.of(features_of(result.shown, made.colour[before:])), before)
    of_events = _Events(EVENTS, found.event, np.arange(len(true)), hits, generated.event, np.arange(len(made)))
    views = [
        View(seen, events, first, regions, frames - result.background)
        for seen, events, first, regions, frames in (
            (true, found, before, scene.objects, result.true),
            (made, generated, before, result.shown, result.cells),
        )
    ]
    departures = _departures(scene, result, *views)
    rows = []
    for kind in [ANY_KIND, *range(len(kinds.found))]:
        for events in (of_events, departures):
            for number, name in enumerate(events.names):
                one = (events.true == number) & ((of_true[events.of_true] == kind) | (kind == ANY_KIND))
                other = (events.made == number) & ((of_made[events.of_made] == kind) | (kind == ANY_KIND))
                if one.any():
                    clips = true.clip[events.of_true[one]], events.hits[one], made.clip[events.of_made[other]]
                    share = rare_share(*clips, episodes)
                    rows.append({"what": name} | ({} if kind == ANY_KIND else kinds.found[kind]) | share)
    return rows


@dataclass(frozen=True)
class _Events:
    """Events of true and of generated frames: which they are (places in ``names``), and of which sightings."""

    names: Sequence[str]
    true: np.ndarray
    of_true: np.ndarray
    hits: np.ndarray
    made: np.ndarray
    of_made: np.ndarray


def _departures(scene: Scene, result: Comparison, true: View, made: View) -> _Events:
    found, generated = find_departures(scene, true), find_departures(scene, made)
    hits = [has_departure(scene, result, true, one) for one in found]
    what, last = (
        [np.array([getattr(one, name) for one in both], int) for both in (found, generated)]
        for name in ("what", "last")
    )
    return _Events(DEPARTURES, what[0], last[0], np.array(hits, bool), what[1], last[1])


def _kind_of_track(found: Events, number: np.ndarray, before: int) -> np.ndarray:
    """The most frequent kind among all sightings of an object, for each of them."""
    count = len(found.event)
    track = np.arange(count)
    for one in range(count):  # a sighting stands before the one that follows it in its clip
        if found.following[one] >= 0:
            track[found.following[one]] = track[one]
    of_kind = np.zeros((count, 1 + (number.max() if len(number) else 0) + 1), int)
    np.add.at(of_kind, (track[before:], number + 1), 1)
    return of_kind[track][:, 1:].argmax(axis=1) if of_kind.shape[1] > 1 else np.full(count, ANY_KIND)


def _sightings(scene: Scene, regions: Regions, cells: np.ndarray) -> tuple[int, Sightings]:
    """The objects of the last two context frames, how many they are, and after them these regions."""
    steps = scene.shape[1]
    clip, time = regions.frame // steps, regions.frame % steps
    of_regions = _table(regions, clip, time, scene.offsets[clip, time], colours_of(regions, cells, scene.background)[1])
    tables = []
    frames, backgrounds, offsets = scene.context
    for which, objects in enumerate(context_objects(scene)):
        back = which - frames.shape[1]
        at = offsets[objects.frame, back] if len(objects) else np.zeros((0, 2))
        colours = colours_of(objects, frames[:, which, None], backgrounds[:, which, None])[1]
        tables.append(_table(objects, objects.frame, np.full(len(objects), back), at, colours))
    before = sum(len(one[0]) for one in tables)
    return before, Sightings(*(np.concatenate(parts) for parts in zip(*tables, of_regions, strict=True)))


def _table(
    regions: Regions, clip: np.ndarray, time: np.ndarray, offset: np.ndarray, colours: np.ndarray
) -> tuple[np.ndarray, ...]:
    corner = np.stack([regions.top, regions.left], axis=1)
    size = np.stack([regions.height, regions.width], axis=1).astype(float)
    return clip, time, corner + (size - 1) / 2 - offset, size, regions.area.astype(float), colours


def _hits(found: Events, true: Sightings, before: int, result: Comparison) -> np.ndarray:
    """Whether the generated frames show the object in its place after each event, or nearer to it than without it."""
    hits = np.zeros(len(true), bool)
    for one in np.flatnonzero(found.event >= 0):
        origin, velocity = found.origin[one], found.velocity[one]
        sighting = one
        for _ in range(AFTERMATH):
            passed = true.time[sighting] - true.time[one] + found.since[one]
            moved = true.place[sighting] - origin
            without = np.inf
            if found.event[one] != EVENTS.index(APPEARS):
                without = min(np.hypot(*moved), np.hypot(*(moved - velocity * passed)))
            off = result.distance[sighting - before]
            hits[one] |= result.found[sighting - before] or off <= NEARER * without
            sighting = found.following[sighting]
            if sighting < 0:
                break
    return hits
