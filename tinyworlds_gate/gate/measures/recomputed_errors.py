"""What the generated frames say by themselves: their errors, and whether the probes gave the same frames again.

Axes: B clips, K clips of the probes, S generated frames, H height, W width, C colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinyworlds_gate.gate.measures.raw import MeasuresError
from tinyworlds_gate.reference.rollout.generated_frames import GeneratedFrames

WHITE = 255.0
SAME_LEVELS = 2
"""Levels of 255 that a value may differ by and still be the same: a product summed in another order."""


@dataclass(frozen=True)
class Recomputed:
    """Errors ``[B, S]`` on frames in [0, 1], and the share of values that each probe changed (K clips, all steps)."""

    mse_BS: np.ndarray
    withheld_changed: float
    repeated_changed: float
    probed_clips: int


def recomputed(generated: GeneratedFrames, true_BSHWC: np.ndarray) -> Recomputed:
    """Compare the generated frames with the true ones of the file, and the probes with the judged rollout.

    Raises:
        MeasuresError: the frames are not one for each true frame, or no clip was probed.
    """
    predicted = generated.predicted
    if predicted.shape != true_BSHWC.shape:
        raise MeasuresError(
            f"{_shape(predicted)} were generated where {_shape(true_BSHWC)} are to be compared; run inference again"
        )
    for probe in (generated.withheld, generated.repeated):
        if not len(probe) or probe.shape != predicted[: len(probe)].shape:
            raise MeasuresError(f"a probe of {_shape(probe)} is none of {_shape(predicted)}; run inference again")
    errors = np.empty(predicted.shape[:2])
    for clip, (made, true) in enumerate(zip(predicted, true_BSHWC, strict=True)):
        difference = made.astype(np.int32) - true
        errors[clip] = np.square(difference).mean(axis=(1, 2, 3), dtype=np.float64) / WHITE**2
    return Recomputed(
        mse_BS=errors,
        withheld_changed=_changed(generated.withheld, predicted),
        repeated_changed=_changed(generated.repeated, predicted),
        probed_clips=min(len(generated.withheld), len(generated.repeated)),
    )


def _changed(probe: np.ndarray, predicted: np.ndarray) -> float:
    difference = np.abs(probe.astype(np.int16) - predicted[: len(probe)])
    return float((difference > SAME_LEVELS).mean())


def _shape(table: np.ndarray) -> str:
    clips, steps, height, width, _ = table.shape
    return f"{clips} x {steps} frames of {height} x {width} px"
