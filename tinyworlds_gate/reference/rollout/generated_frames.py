"""The generated frames of a rollout as uint8, from which the harness recomputes the errors.

``random`` are the frames that random actions generate for the same clips, and ``non_finite`` marks the values of
``predicted`` that were NaN or infinite before clamping, as packed bits. ``codes`` are the action codes that each step
followed, with which a probe (`probe.py`) generates the same frames again.

Files of schema 3 and 4 hold two probes of the first clips instead: ``withheld`` (noise in place of the true future) and
``repeated`` (another random seed).

Axes: B clips, K clips of the first batch, S generated frames, G steps, N transitions, H height, W width, C colours.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frames_file import read_stored
from tinyworlds_gate.reference.data.hdf5_input import open_hdf5
from tinyworlds_gate.reference.data.hdf5_output import new_hdf5
from tinyworlds_gate.run.atomic import atomic_path

PREDICTED = "predicted"
OPTIONAL_DATASETS = ("withheld", "repeated", "random", "non_finite", "codes")
"""Not in files of every schema."""
AXES = {"non_finite": 3, "codes": 3}
TYPES = {"codes": np.int16}
AGAIN = "run inference again"
NO_CODE = -1
"""Fills ``codes`` up where a step follows fewer transitions than others."""


@dataclass(frozen=True)
class GeneratedFrames:
    """All uint8: ``predicted`` and ``random`` [B, S, H, W, C]; ``withheld`` and ``repeated`` [K, S, H, W, C].

    ``non_finite`` [B, S, bytes] has a bit for each value of a frame. ``codes`` [B, G, N], int16, ends in ``NO_CODE``
    where a step follows fewer transitions.
    """

    predicted: np.ndarray
    withheld: np.ndarray | None = None
    repeated: np.ndarray | None = None
    random: np.ndarray | None = None
    non_finite: np.ndarray | None = None
    codes: np.ndarray | None = None


def write_generated(path: Path, frames: GeneratedFrames) -> None:
    """Write the frames, compressed a clip at a time; the file appears in full or not at all."""
    with atomic_path(path) as temporary, new_hdf5(temporary) as output:
        file = output.file
        for name in (PREDICTED, *OPTIONAL_DATASETS):
            table: np.ndarray | None = getattr(frames, name)
            if table is None:
                continue
            file.create_dataset(name, data=table, chunks=(1, *table.shape[1:]), compression="gzip", compression_opts=1)


def read_generated(path: Path) -> GeneratedFrames:
    """Read a file of `write_generated`.

    Raises:
        DataError: the file is missing, damaged, or not of this layout.
    """
    if not os.path.lexists(path):
        raise DataError(f"{path}: the inference run wrote no generated frames; {AGAIN}")
    with open_hdf5(path, AGAIN, needed="file of generated frames (HDF5)") as file:
        names = (PREDICTED, *(name for name in OPTIONAL_DATASETS if name in file))
        tables = {name: read_stored(file, name, path, AGAIN) for name in names}
    for name, table in tables.items():
        axes, dtype = AXES.get(name, 5), np.dtype(TYPES.get(name, np.uint8))
        if table.dtype != dtype or table.ndim != axes:
            raise DataError(f"{path}: {name} must be {dtype} with {axes} axes; run inference again")
    return GeneratedFrames(**tables)
