"""Whether two sets of weights are the same but for a touch: compared by their numbers, not by their SHA-256.

A checkpoint may be overwritten after its verdict. The journal therefore keeps a sketch of the dynamics weights: for
each tensor its number of elements, its norm, and eight sums of its elements with random signs. The sum of the squared
differences of the sums of two tensors estimates the squared distance of the tensors.
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
SUMS, DIGITS = 8, 8

Sketch = Mapping[str, Sequence[float]]
"""Tensor → number of elements, norm, and the sums."""


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
    return {name: _sums(weights[name].detach().float().numpy().ravel()) for name in sorted(weights)}


def _sums(values_N: np.ndarray) -> list[float]:
    signs_N = np.random.default_rng(0).integers(0, 2, values_N.size, dtype=np.int8) * 2 - 1
    signed_N = values_N.astype(np.float64) * signs_N
    numbers = [np.linalg.norm(signed_N), *(signed_N[first::SUMS].sum() for first in range(SUMS))]
    return [values_N.size, *(float(f"{one:.{DIGITS}g}") for one in numbers)]


def are_same(one: Sketch, other: Sketch) -> bool:
    """Return whether at least half of all weights lie in tensors that are closer than ``SAME_WEIGHTS``."""
    if one.keys() != other.keys() or any(one[name][0] != other[name][0] for name in one):
        return False
    near = sum(one[name][0] for name in one if _distance(one[name], other[name]) < SAME_WEIGHTS)
    return bool(one) and near * 2 >= sum(sums[0] for sums in one.values())


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    apart = float(np.linalg.norm(np.subtract(one[2:], other[2:])))
    return apart / max(one[1], other[1], np.finfo(float).tiny)
