"""Whether two sets of weights are the same but for a touch: compared by their numbers, not by their SHA-256.

A checkpoint may be overwritten after its verdict. The journal therefore keeps a sketch of the dynamics weights: for
each tensor its number of elements, its norm, eight sums of its elements with random signs, and two norms of its
singular values. The sum of the squared differences of the sums of two tensors estimates the squared distance of the
tensors. Permuting or rotating rows or columns (hidden units in another order) changes no norm of singular values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.checkpoints.layout import MODEL_FILE
from tinyworlds_gate.checkpoints.read import read_model_state
from tinyworlds_gate.errors import CheckpointError

SAME_WEIGHTS = 1e-3
"""Relative distance of two tensors below which they count as the same (docs/gate.md has measured distances)."""
SAME_NORMS = 2e-5
"""Relative difference of the norms of singular values below which a tensor counts as the other one, reordered."""
SUMS, DIGITS = 8, 8

Sketch = Mapping[str, Sequence[float]]
"""Tensor → number of elements, norm, the sums, and (not in older journals) the norms of singular values."""


def sketch_of(checkpoint: Path, sha256: str | None = None) -> Sketch | None:
    """Return the sketch of a checkpoint's weights; None where they cannot be read, or have another SHA-256."""
    file = checkpoint / MODEL_FILE
    try:
        if not file.is_file() or (sha256 is not None and sha256_of(file) != sha256):
            return None
        state = read_model_state(checkpoint)
    except (CheckpointError, OSError):
        return None
    weights = {name: one for name, one in state.items() if one.is_floating_point()}
    return {name: _numbers(weights[name].detach().float().numpy()) for name in sorted(weights)}


def _numbers(tensor: np.ndarray) -> list[float]:
    values_N = tensor.ravel()
    signs_N = np.random.default_rng(0).integers(0, 2, values_N.size, dtype=np.int8) * 2 - 1
    signed_N = values_N.astype(np.float64) * signs_N
    numbers = [np.linalg.norm(signed_N), *(signed_N[first::SUMS].sum() for first in range(SUMS))]
    numbers += _singular_norms(tensor.astype(np.float64).reshape(len(tensor) if tensor.ndim > 1 else 1, -1))
    return [values_N.size, *(float(f"{one:.{DIGITS}g}") for one in numbers)]


def _singular_norms(matrix: np.ndarray) -> tuple[float, float]:
    """Return (Σσ⁴)^¼ and (Σσ⁶)^⅙ over the singular values σ."""
    gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    squared = gram @ gram
    return float(np.trace(squared) ** (1 / 4)), float((squared * gram).sum() ** (1 / 6))


def are_same(one: Sketch, other: Sketch) -> bool:
    """Return whether at least half of the smaller model's weights lie in tensors that are the same but for a touch.

    The order of units, units of zeros and further tensors make no difference.
    """
    near = sum(
        min(one[name][0], other[name][0]) for name in one.keys() & other.keys() if _is_near(one[name], other[name])
    )
    return near > 0 and near * 2 >= min(sum(numbers[0] for numbers in sketch.values()) for sketch in (one, other))


def _is_near(one: Sequence[float], other: Sequence[float]) -> bool:
    least, end = np.finfo(float).tiny, 2 + SUMS
    apart = float(np.linalg.norm(np.subtract(one[2:end], other[2:end])))
    if one[0] == other[0] and apart < SAME_WEIGHTS * max(one[1], other[1], least):
        return True
    norms = [np.array([numbers[1], *numbers[end:]]) for numbers in (one, other)]
    known = len(norms[0]) == len(norms[1]) > 1
    return known and bool((np.abs(norms[0] - norms[1]) < SAME_NORMS * np.maximum(*norms)).all())
