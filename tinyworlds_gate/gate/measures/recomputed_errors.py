"""What the generated frames say by themselves: their errors, and in older files whether their probes agree.

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
    """Errors ``[B, S]`` on frames in [0, 1]; the share of values that each probe of an older file changed (K clips)."""

    mse_BS: np.ndarray
    withheld_changed: float | None = None
    repeated_changed: float | None = None
    probed_clips: int = 0
    random_mse_BS: np.ndarray | None = None
    """Errors of the frames that random actions generated; None for files of older versions."""
    non_finite: int | None = None
    """Generated values that were no finite number before they were clamped; None for files of older versions."""


def recomputed(generated: GeneratedFrames, true_BSHWC: np.ndarray) -> Recomputed:
    """Compare the generated frames with the true ones of the file, and the probes with the judged rollout.

    Raises:
        MeasuresError: the frames are not one for each true frame.
    """
    predicted = generated.predicted
    if predicted.shape != true_BSHWC.shape:
        raise MeasuresError(
            f"{_shape(predicted)} were generated where {_shape(true_BSHWC)} are to be compared; run inference again"
        )
    probes = [one for one in (generated.withheld, generated.repeated) if one is not None]
    for probe in probes:
        if not len(probe) or probe.shape != predicted[: len(probe)].shape:
            raise MeasuresError(f"a probe of {_shape(probe)} is none of {_shape(predicted)}; run inference again")
    random = generated.random
    if random is not None and random.shape != predicted.shape:
        raise MeasuresError(f"random actions gave {_shape(random)}, not {_shape(predicted)}; run inference again")
    return Recomputed(
        mse_BS=frame_errors(predicted, true_BSHWC),
        withheld_changed=None if generated.withheld is None else changed_share(generated.withheld, predicted),
        repeated_changed=None if generated.repeated is None else changed_share(generated.repeated, predicted),
        probed_clips=min(map(len, probes), default=0),
        random_mse_BS=None if random is None else frame_errors(random, true_BSHWC),
        non_finite=None if generated.non_finite is None else int(np.bitwise_count(generated.non_finite).sum()),
    )


def frame_errors(made_BSHWC: np.ndarray, true_BSHWC: np.ndarray) -> np.ndarray:
    """Return the mean squared errors ``[B, S]`` of uint8 frames, of frames in [0, 1]."""
    errors = np.empty(made_BSHWC.shape[:2])
    for clip, (made, true) in enumerate(zip(made_BSHWC, true_BSHWC, strict=True)):
        errors[clip] = np.square(made.astype(np.int32) - true).mean(axis=(1, 2, 3), dtype=np.float64) / WHITE**2
    return errors


def changed_share(probe: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of the probe's values that differ from those of the first predicted clips."""
    difference = np.abs(probe.astype(np.int16) - predicted[: len(probe)])
    return float((difference > SAME_LEVELS).mean())


def _shape(table: np.ndarray) -> str:
    clips, steps, height, width, _ = table.shape
    return f"{clips} x {steps} frames of {height} x {width} px"
