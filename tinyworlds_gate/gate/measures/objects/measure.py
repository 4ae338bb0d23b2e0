"""Measure the objects of generated frames: recall, precision, place and kind, with intervals over episodes.

Axes: N clips, C context frames, S generated frames, H x W pixels, R true objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.intervals import ratio_interval
from tinyworlds_gate.gate.measures.objects.baselines import COPY_LAST, predictions
from tinyworlds_gate.gate.measures.objects.cells import blur, in_light_of, to_cells
from tinyworlds_gate.gate.measures.objects.compare import (
    DISPLACED,
    MISSING,
    REPLACED,
    Comparison,
    compare,
    found_objects,
)
from tinyworlds_gate.gate.measures.objects.displays import score_displays
from tinyworlds_gate.gate.measures.objects.entries import score_entries
from tinyworlds_gate.gate.measures.objects.events import score_events
from tinyworlds_gate.gate.measures.objects.extras import score_extras
from tinyworlds_gate.gate.measures.objects.fixed_part import cut_fixed_part
from tinyworlds_gate.gate.measures.objects.identity import score_identities
from tinyworlds_gate.gate.measures.objects.kinds import Kinds, colours_of, features_of, find_families
from tinyworlds_gate.gate.measures.objects.labels import score_labels
from tinyworlds_gate.gate.measures.objects.light import measure_light
from tinyworlds_gate.gate.measures.objects.looks import score_looks
from tinyworlds_gate.gate.measures.objects.onward import score_onward
from tinyworlds_gate.gate.measures.objects.other_scroll import cut_bands
from tinyworlds_gate.gate.measures.objects.scene import Scene, see
from tinyworlds_gate.gate.measures.objects.slices import score_slices
from tinyworlds_gate.gate.measures.objects.still import measure_still
from tinyworlds_gate.gate.measures.objects.textures import measure_textures
from tinyworlds_gate.gate.measures.objects.usual_frames import as_shown, contrast_of, enlarged, enlargement_of

LEAST_SIGHTINGS = 30
"""Sightings of objects that have moved since the context, in the true frames, below which nothing is judged."""
LEAST_EPISODES = 5
PARTS = 3
"""Thirds of the rollout: objects that only the late frames lose are lost."""

Rate = dict[str, float | None]


@dataclass(frozen=True)
class ObjectCounts:
    """Objects of each clip, of all frames together: sums of these give recall and precision."""

    true: np.ndarray
    """int [N]: in the true frames."""
    found: np.ndarray
    """int [N]: of these in the generated frames, in their place."""
    generated: np.ndarray
    """int [N]: found ones, and those that the true frames do not show."""
    kinds: tuple[tuple[dict[str, Any], np.ndarray, np.ndarray], ...]
    """Of each frequent kind: what it looks like, and ``true`` and ``found`` of its objects."""


def measure_objects(
    context: np.ndarray,
    true: np.ndarray,
    generated: np.ndarray,
    episodes: np.ndarray,
    labels: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the journal's ``measures.objects`` (docs/journal.md); arguments as for :func:`count_objects`."""
    return count_objects(context, true, generated, episodes, labels)[0]


def count_objects(
    context: np.ndarray,
    true: np.ndarray,
    generated: np.ndarray,
    episodes: np.ndarray,
    labels: np.ndarray | None = None,
) -> tuple[dict[str, Any], ObjectCounts]:
    """Return the journal's ``measures.objects`` (docs/journal.md), and the counts of each clip behind its rates.

    Args:
        context: uint8 [N, C, H, W, 3].
        true: uint8 [N, S, H, W, 3].
        generated: uint8 [N, S, H, W, 3].
        episodes: int [N].
        labels: the named objects of the true frames (`labels.py`); None: the file names none.
    """
    factor = enlargement_of(true)
    shown_context, *shown = (enlarged(one, factor) for one in (context, true, generated))
    contrast = contrast_of(shown_context, shown[0])
    context, true, generated = (contrast.raised(one) for one in (shown_context, *shown))
    scene = see(context, true)
    steps = true.shape[1]
    clip, step = scene.objects.frame // steps, scene.objects.frame % steps
    last = in_light_of(blur(to_cells(context[:, -1])), scene.context[1][:, -1])
    others = {name: found_objects(scene, cells) for name, cells in predictions(scene, last).items()}
    moved = ~others[COPY_LAST]
    record: dict[str, Any] = {
        "sightings": len(clip),
        "moved_sightings": int(moved.sum()),
        "clips": len(np.unique(clip)),
        "episodes": len(np.unique(episodes[clip[moved]])),
        "no_occasion": _no_occasion(moved, episodes[clip[moved]], len(clip)),
        "baselines": {
            name: {"recall": _mean(found), "moved_recall": _mean(found[moved])} for name, found in others.items()
        },
    }
    cells = np.stack([blur(to_cells(one)) for one in generated])
    result = compare(scene, cells)
    sums = _Sums(result, clip, step, episodes, steps)
    record |= sums.rates(moved)
    side = max(scene.shape[2:])
    for key in ("place_error", "place_error_by_step"):
        record[key] = _divided(record[key], side)
    families = list(find_families(scene))
    kinds = families[0]
    record["kinds"] = _kinds(scene, result, kinds, episodes[clip])
    record["extras"] = score_extras(scene, result, kinds, episodes)
    record["rare"] = score_events(scene, result, kinds, episodes)
    extra = features_of(result.extra, colours_of(result.extra, result.cells, scene.background)[1])
    record["slices"] = score_slices(scene, result, families, [family.of(extra) for family in families], episodes)
    record["slices"] += score_identities(scene, result, episodes)
    record["looks"] = score_looks(scene, result, kinds, episodes)
    last_sharp, true_sharp, sharp = (to_cells(one) for one in (context[:, -1], true, generated))
    record["rare"] += score_displays(scene, last_sharp, true_sharp, sharp, episodes)
    record["rare"] += score_entries(scene, blur(true_sharp), cells, episodes)
    record["onward"] = score_onward(scene, blur(to_cells(context)), blur(true_sharp), cells, episodes)
    # In a frame of at most 32 px, a repeated pattern looks like parts that scroll differently.
    bands = cut_bands(scene, (context, true, generated)) if factor == 1 else ()
    record["bands"] = [_measure_part(one, episodes) for one in bands]
    part = cut_fixed_part(scene, last_sharp, true_sharp, (context, true, generated))
    record["fixed_part"] = None if part is None else _measure_part(part, episodes)
    record["still"] = measure_still(scene, (shown[0], shown[1]), (to_cells(shown[0]), to_cells(shown[1])), episodes)
    record["textures"] = measure_textures((shown_context, shown[0], shown[1]), scene.scrolls, episodes)
    record["light"] = measure_light(shown_context, shown[0], shown[1], episodes)
    record["labels"] = None
    if labels is not None:
        labels = labels.copy()
        for axis in ("x", "y"):
            labels[axis] *= factor
        record["labels"] = score_labels(scene, in_light_of(cells, scene.background), labels, episodes)
    as_in_file: dict[str, Any] = as_shown(record, factor, contrast)
    frequent = [
        number for number, kind in enumerate(kinds.found) if _is_frequent(kinds.number == number, episodes[clip])
    ]
    shown_kinds = [as_shown(kinds.found[number], factor, contrast) for number in frequent]
    return as_in_file, sums.by_clip(kinds.number, frequent, shown_kinds)


def _measure_part(frames: Sequence[np.ndarray], episodes: np.ndarray) -> dict[str, Any]:
    """Measure context, true and generated frames that were cut to a part of the screen."""
    context, true, generated = frames
    return measure_objects(context, true, generated, episodes)


def _divided(value: Any, by: float) -> Any:
    """Cells as a share of the frame."""
    if isinstance(value, list):
        return [_divided(one, by) for one in value]
    return None if value is None else value / by


def _no_occasion(moved: np.ndarray, episodes: np.ndarray, sightings: int) -> str | None:
    count, seen = int(moved.sum()), len(np.unique(episodes))
    if count >= LEAST_SIGHTINGS and seen >= LEAST_EPISODES:
        return None
    return (
        f"the true frames show {sightings} small objects, {count} of them moved since the context, in {seen} episodes; "
        f"{LEAST_SIGHTINGS} in {LEAST_EPISODES} episodes are needed"
    )


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


class _Sums:
    """Counts of a comparison, by clip and step."""

    def __init__(
        self, result: Comparison, clip: np.ndarray, step: np.ndarray, episodes: np.ndarray, steps: int
    ) -> None:
        self.result, self.clip, self.step, self.episodes, self.steps = result, clip, step, episodes, steps
        self.extra = result.extra.frame // steps, result.extra.frame % steps
        self.erased = result.erased.frame // steps, result.erased.frame % steps

    def _count(self, places: tuple[np.ndarray, np.ndarray], weights: np.ndarray | None = None) -> np.ndarray:
        table = np.zeros((len(self.episodes), self.steps))
        np.add.at(table, places, 1 if weights is None else weights)
        return table

    def _rate(self, above: np.ndarray, below: np.ndarray, name: str) -> Rate:
        value = float(above.sum() / below.sum()) if below.sum() else None
        low, high = ratio_interval(above.sum(axis=1), below.sum(axis=1), self.episodes)
        known = value is not None and np.isfinite((low, high)).all()
        ends = (max(0.0, low), min(1.0, high)) if known else (None, None)
        return {name: value, f"{name}_low": ends[0], f"{name}_high": ends[1]}

    def by_clip(self, kind: np.ndarray, numbers: Sequence[int], described: Sequence[dict[str, Any]]) -> ObjectCounts:
        """Return the counts of each clip: of all objects, and of these kinds."""
        found = self.result.found.astype(bool)

        def counted(*parts: np.ndarray) -> np.ndarray:
            clips = len(self.episodes)
            total: np.ndarray = sum((np.bincount(one, minlength=clips) for one in parts), np.zeros(clips, np.int64))
            return total

        of_kinds = [
            (what, counted(self.clip[kind == number]), counted(self.clip[found & (kind == number)]))
            for number, what in zip(numbers, described, strict=True)
        ]
        hits = counted(self.clip[found])
        return ObjectCounts(
            counted(self.clip, self.erased[0]), hits, hits + counted(self.extra[0]), kinds=tuple(of_kinds)
        )

    def rates(self, moved: np.ndarray) -> dict[str, Any]:
        """Recall, precision, place and kind, with intervals, by step and for each third of the rollout."""
        result, places = self.result, (self.clip, self.step)
        hits, seen = self._count(places, result.found), self._count(places) + self._count(self.erased)
        shown = hits + self._count(self.extra)
        of_moved = [self._count((self.clip[moved], self.step[moved]), one) for one in (result.found[moved], None)]
        replaced = self._count(places, result.fate == REPLACED)
        there = ~np.isnan(result.distance)
        distance = self._count(places, np.where(there, result.distance, 0))
        record: dict[str, Any] = self._rate(hits, seen, "recall") | self._rate(of_moved[0], of_moved[1], "moved_recall")
        record |= self._rate(hits, shown, "precision") | self._rate(hits, hits + replaced, "kind")
        record |= {"place_error": None}
        for name, above, below in (("recall", hits, seen), ("precision", hits, shown), ("kind", hits, hits + replaced)):
            record[f"{name}_by_step"] = _ratios(above, below)
            record[f"{name}_by_part"] = [
                _ratio(above[:, part].sum(), below[:, part].sum()) if below[:, part].sum() >= LEAST_SIGHTINGS else None
                for part in np.array_split(np.arange(self.steps), min(PARTS, self.steps))
            ]
        count = self._count(places, there)
        record["place_error"] = _ratio(distance.sum(), count.sum())
        record["place_error_by_step"] = _ratios(distance, count)
        record["mistakes"] = {
            MISSING: int((result.fate == MISSING).sum()) + len(result.erased),
            DISPLACED: int((result.fate == DISPLACED).sum()),
            REPLACED: int((result.fate == REPLACED).sum()),
            "extra": len(result.extra),
            "left_behind": int(result.left_behind.sum()),
        }
        return record


def _ratio(above: float, below: float) -> float | None:
    return float(above / below) if below else None


def _ratios(above: np.ndarray, below: np.ndarray) -> list[float | None]:
    return [_ratio(one, other) for one, other in zip(above.sum(axis=0), below.sum(axis=0), strict=True)]


def _is_frequent(of_kind: np.ndarray, episodes: np.ndarray) -> bool:
    return bool(of_kind.sum() >= LEAST_SIGHTINGS and len(np.unique(episodes[of_kind])) >= LEAST_EPISODES)


def _kinds(scene: Scene, result: Comparison, kinds: Kinds, episodes: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for number, kind in enumerate(kinds.found):
        of_kind = kinds.number == number
        if not _is_frequent(of_kind, episodes):
            continue
        fates = {fate: int((result.fate[of_kind] == fate).sum()) for fate in (MISSING, DISPLACED, REPLACED)}
        rows.append(kind | {"sightings": int(of_kind.sum()), "recall": float(result.found[of_kind].mean()), **fates})
    return rows
