"""Measures of the generated frames themselves: objects (G6), motion and sharpness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyworlds_gate.gate.measures.clip_facts import ClipFacts
from tinyworlds_gate.gate.measures.motion_and_sharpness import motion_ratio, sharpness
from tinyworlds_gate.gate.measures.objects.measure import ObjectCounts, count_objects
from tinyworlds_gate.gate.measures.summary import GateMeasures


def with_frame_measures(measures: GateMeasures, facts: ClipFacts, predicted: np.ndarray) -> GateMeasures:
    """Return the measures with those of the generated frames, uint8 [B, S, H, W, 3]."""
    return measured_frames(measures, facts, predicted)[0]


def measured_frames(
    measures: GateMeasures, facts: ClipFacts, predicted: np.ndarray
) -> tuple[GateMeasures, ObjectCounts]:
    """Return the same, and the number of objects of each clip."""
    context, true = facts.context_BPHWC, facts.true_BSHWC
    objects, counts = count_objects(context, true, predicted, facts.episodes, facts.objects)
    whole = replace(
        measures,
        objects=objects,
        motion_ratio=motion_ratio(context, true, predicted),
        sharpness=sharpness(true, predicted),
    )
    return whole, counts
