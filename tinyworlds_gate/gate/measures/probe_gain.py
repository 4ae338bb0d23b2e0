"""Whether the frames of an inference run are better than those that its probe generated of the same clips (pure).

Small objects are less than 1 % of a frame, so the share of values that differ does not show that one was painted in.
A token that flips where two are equally likely changes single clips, for better or worse alike. Frames that got
something of the true future are better in most clips.

Axes: K chosen clips, P context frames, S generated frames, H height, W width, C colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tinyworlds_gate.gate.measures.objects.cells import blur, to_cells
from tinyworlds_gate.gate.measures.objects.compare import compare
from tinyworlds_gate.gate.measures.objects.kinds import find_kinds
from tinyworlds_gate.gate.measures.objects.scene import see
from tinyworlds_gate.gate.measures.recomputed_errors import WHITE, frame_errors

LIMITS = ((0.02, 2.5), (0.1, 1.7))
"""Pairs of limits, which a gain must both exceed: as a share of the error or the objects, and as a multiple of its
standard deviation if each clip's difference were a gain or a loss by chance. N equal gains are √N deviations."""
ROUNDING_VARIANCE = 1 / (12 * WHITE**2)
"""Squared error of rounding to bytes, added to errors before they are compared: smaller ones cannot be told apart."""


def error_gain(better_KSHWC: np.ndarray, worse_KSHWC: np.ndarray, true_KSHWC: np.ndarray) -> str:
    """Return a clause if the errors of the first frames are systematically below those of the second; else ''."""
    low_K, high_K = (frame_errors(one, true_KSHWC).mean(axis=1) for one in (better_KSHWC, worse_KSHWC))
    found = _systematic(high_K - low_K, float((high_K + ROUNDING_VARIANCE).sum()))
    return f"the error is {low_K.mean():.6f} instead of {high_K.mean():.6f} ({found})" if found else ""


def object_gain(
    context_KPHWC: np.ndarray, true_KSHWC: np.ndarray, judged_KSHWC: np.ndarray, probe_KSHWC: np.ndarray
) -> str:
    """Return a clause if the judged frames show systematically more true objects or fewer others; else ''."""
    return next(_object_gains(context_KPHWC, true_KSHWC, judged_KSHWC, probe_KSHWC), "")


def _object_gains(
    context_KPHWC: np.ndarray, true_KSHWC: np.ndarray, judged_KSHWC: np.ndarray, probe_KSHWC: np.ndarray
) -> Iterator[str]:
    count, steps = true_KSHWC.shape[:2]
    scene = see(context_KPHWC, true_KSHWC)
    judged, probe = (
        compare(scene, np.stack([blur(to_cells(one)) for one in frames])) for frames in (judged_KSHWC, probe_KSHWC)
    )
    clip = scene.objects.frame // steps
    number = find_kinds(scene).number
    for of in [np.ones(len(clip), bool), *(number == kind for kind in np.unique(number))]:
        gain = judged.found[of].astype(int) - probe.found[of]
        found = _systematic(np.bincount(clip[of], gain, count), int(of.sum()))
        if found:
            shown = f"{int(judged.found[of].sum())} instead of {int(probe.found[of].sum())}"
            yield f"of {int(of.sum())} small objects {shown} are found ({found})"
    more, fewer = (np.bincount(one.extra.frame // steps, minlength=count) for one in (probe, judged))
    found = _systematic(more - fewer, int(probe.found.sum() + more.sum()))
    if found:
        yield f"{fewer.sum()} instead of {more.sum()} objects are shown that are none ({found})"


def _systematic(gain_K: np.ndarray, whole: float) -> str:
    """Return how many clips are better and worse, if chance does not explain the sum of the gains; else ''."""
    total, size = float(gain_K.sum()), math.sqrt(float(np.square(gain_K).sum()))
    if not any(total > share * whole and total > size * apart for share, apart in LIMITS):
        return ""
    return f"better in {int((gain_K > 0).sum())} of {len(gain_K)} clips, worse in {int((gain_K < 0).sum())}"
