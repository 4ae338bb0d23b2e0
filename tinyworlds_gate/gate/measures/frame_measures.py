"""Measures of the generated frames themselves: objects (G6), motion and sharpness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinyworlds_gate.gate.measures.clip_facts import ClipFacts
from tinyworlds_gate.gate.measures.motion_and_sharpness import motion_ratio, sharpness
from tinyworlds_gate.gate.measures.objects.measure import measure_objects
from tinyworlds_gate.gate.measures.summary import GateMeasures


def with_frame_measures(measures: GateMeasures, facts: ClipFacts, predicted: np.ndarray) -> GateMeasures:
    """Return the measures with those of the generated frames, uint8 [B, S, H, W, 3]."""
    context, true = facts.context_BPHWC, facts.true_BSHWC
    return replace(
        measures,
        objects=measure_objects(context, true, predicted, facts.episodes, facts.objects),
        motion_ratio=motion_ratio(context, true, predicted),
        sharpness=sharpness(true, predicted),
    )
