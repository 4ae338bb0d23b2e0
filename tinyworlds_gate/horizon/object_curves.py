"""Objects by step: of the model, and of what needs no model, compared with the true frames in the same way.

Axes: B clips, P context frames, S steps, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyworlds_gate.gate.measures.objects.baselines import predictions
from tinyworlds_gate.gate.measures.objects.cells import blur, in_light_of, to_cells
from tinyworlds_gate.gate.measures.objects.compare import compare
from tinyworlds_gate.gate.measures.objects.measure import LEAST_SIGHTINGS
from tinyworlds_gate.gate.measures.objects.scene import Scene, see
from tinyworlds_gate.gate.measures.objects.usual_frames import contrast_of, enlarged, enlargement_of
from tinyworlds_gate.horizon.crossing import Curve, best_reference, usable_horizon

MODEL = "model"
NAMES = {"copy_last": "last frame", "erased": "background alone", "constant_velocity": "constant velocity"}


@dataclass(frozen=True)
class ObjectTables:
    """Counts of one prediction by clip and step, float64 [B, S].

    ``hits`` of the ``seen`` true objects are in their place, among ``shown`` in the generated frames. ``far`` sums the
    distance of the ``placed`` ones from their place, as a share of the frame's longer side.
    """

    hits: np.ndarray
    seen: np.ndarray
    shown: np.ndarray
    far: np.ndarray
    placed: np.ndarray


class ObjectScene:
    """The true objects of clips, found once, and the counts of any prediction compared with them."""

    def __init__(self, context: np.ndarray, true: np.ndarray) -> None:
        """Find the objects.

        Args:
            context: uint8 [B, P, H, W, 3].
            true: uint8 [B, S, H, W, 3].
        """
        self._factor = enlargement_of(true)
        context, true = (enlarged(one, self._factor) for one in (context, true))
        self._contrast = contrast_of(context, true)
        self._context = self._contrast.raised(context)
        self._scene = see(self._context, self._contrast.raised(true))

    def counted(self, generated: np.ndarray) -> ObjectTables:
        """Return the counts of generated frames, uint8 [B, S, H, W, 3]."""
        raised = self._contrast.raised(enlarged(generated, self._factor))
        return _counted(self._scene, np.stack([blur(to_cells(one)) for one in raised]))

    def last_frame(self) -> ObjectTables:
        """Return the counts of the last context frame as the prediction of every step."""
        return _counted(self._scene, np.repeat(self._last()[:, None], self._scene.shape[1], axis=1))

    def references(self) -> dict[str, ObjectTables]:
        """Return the counts of what needs no model: last frame, background alone, constant velocity."""
        made = predictions(self._scene, self._last())
        return {NAMES.get(name, name): _counted(self._scene, np.array(cells)) for name, cells in made.items()}

    def _last(self) -> np.ndarray:
        return in_light_of(blur(to_cells(self._context[:, -1])), self._scene.context[1][:, -1])


def object_tables(context: np.ndarray, true: np.ndarray, generated: np.ndarray) -> dict[str, ObjectTables]:
    """Return the counts by prediction: the model, last frame, background alone, constant velocity.

    Args:
        context: uint8 [B, P, H, W, 3].
        true: uint8 [B, S, H, W, 3].
        generated: uint8 [B, S, H, W, 3].
    """
    scene = ObjectScene(context, true)
    return {MODEL: scene.counted(generated), **scene.references()}


def object_curves(tables: Mapping[str, ObjectTables], episodes: np.ndarray) -> dict[str, Any]:
    """Return recall, precision and place error by step with those of the best reference, and the objects' horizon.

    Steps with fewer than 30 sightings are None. ``no_occasion``: no step has as many.
    """
    own = tables[MODEL]
    others = {name: one for name, one in tables.items() if name != MODEL}
    judged = own.seen.sum(axis=0) >= LEAST_SIGHTINGS
    record: dict[str, Any] = {"sightings_by_step": own.seen.sum(axis=0).astype(int).tolist(), "no_occasion": None}
    rates = {
        "recall": (lambda one: Curve(one.hits, one.seen), True),
        "precision": (lambda one: Curve(one.hits, one.shown), True),
        "place_error": (lambda one: Curve(one.far, one.placed), False),
    }
    for name, (curve, higher) in rates.items():
        value = curve(own).at(np.ones((1, len(episodes))))[0]
        best, which = best_reference({other: curve(one) for other, one in others.items()}, higher=higher)
        record[name] = {
            "by_step": _known(value, judged),
            "reference_by_step": _known(best, judged),
            "reference": [one if known else "" for one, known in zip(which, judged, strict=True)],
        }
    if not judged.any():
        record["no_occasion"] = f"no step shows {LEAST_SIGHTINGS} small moving objects at places that the context shows"
        record["horizon"] = None
        return record
    found = usable_horizon(
        Curve(own.hits, own.seen),
        {name: Curve(one.hits, one.seen) for name, one in others.items()},
        episodes,
        higher=True,
        judged=judged,
    )
    record["horizon"] = found.as_dict()
    record["judged_steps"] = int(judged.sum())
    return record


def _counted(scene: Scene, cells: np.ndarray) -> ObjectTables:
    result, steps = compare(scene, cells), scene.shape[1]

    def count(frames: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        size = scene.shape[0] * steps
        return np.bincount(frames, weights, minlength=size).astype(float).reshape(scene.shape[0], steps)

    frame, there = scene.objects.frame, ~np.isnan(result.distance)
    hits = count(frame, result.found.astype(float))
    return ObjectTables(
        hits=hits,
        seen=count(frame) + count(result.erased.frame),
        shown=hits + count(result.extra.frame),
        far=count(frame, np.where(there, result.distance, 0.0) / max(scene.shape[2:])),
        placed=count(frame, there.astype(float)),
    )


def _known(values_S: np.ndarray, judged_S: np.ndarray) -> list[float | None]:
    return [float(one) if use and np.isfinite(one) else None for one, use in zip(values_S, judged_S, strict=True)]
