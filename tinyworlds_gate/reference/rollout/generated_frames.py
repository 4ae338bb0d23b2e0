"""The generated frames of a rollout as uint8, from which the harness recomputes the errors.

In addition to the measured rollout there are two probes, rollouts of the first clips that must give the same frames:

- ``withheld``: noise replaces the true future, while the actions stay those inferred before. A strict rollout never
  reads that future, so a difference means that the true frames leak into the prediction.
- ``repeated``: uses another random seed. At temperature 0 a rollout draws nothing.

``random`` are the frames that random actions generate for the same clips, and ``non_finite`` marks the values of
``predicted`` that were NaN or infinite before clamping, as packed bits.

Axes: B clips, K clips of the first batch, S generated frames, H height, W width, C colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.run.atomic import atomic_path

DATASETS = ("predicted", "withheld", "repeated")
OPTIONAL_DATASETS = ("random", "non_finite")
"""Files of schema 3 do not have them."""


@dataclass(frozen=True)
class GeneratedFrames:
    """All uint8: ``predicted`` and ``random`` [B, S, H, W, C]; ``withheld`` and ``repeated`` [K, S, H, W, C].

    ``non_finite`` [B, S, bytes] has a bit for each value of a frame.
    """

    predicted: np.ndarray
    withheld: np.ndarray
    repeated: np.ndarray
    random: np.ndarray | None = None
    non_finite: np.ndarray | None = None


def write_generated(path: Path, frames: GeneratedFrames) -> None:
    """Write the frames, compressed a clip at a time; the file appears in full or not at all."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name in (*DATASETS, *OPTIONAL_DATASETS):
            table: np.ndarray | None = getattr(frames, name)
            if table is None:
                continue
            file.create_dataset(name, data=table, chunks=(1, *table.shape[1:]), compression="gzip", compression_opts=1)


def read_generated(path: Path) -> GeneratedFrames:
    """Read a file of `write_generated`.

    Raises:
        DataError: the file is missing, damaged, or not of this layout.
    """
    try:
        with h5py.File(path, "r") as file:
            names = (*DATASETS, *(name for name in OPTIONAL_DATASETS if name in file))
            tables = {name: file[name][()] for name in names}
    except FileNotFoundError as error:
        raise DataError(f"{path}: the inference run wrote no generated frames; run inference again") from error
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(
            f"{path}: the generated frames cannot be read ({type(error).__name__}: {error}); run inference again"
        ) from error
    for name, table in tables.items():
        axes = 3 if name == "non_finite" else 5
        if not isinstance(table, np.ndarray) or table.dtype != np.uint8 or table.ndim != axes:
            raise DataError(f"{path}: {name} must be uint8 with {axes} axes; run inference again")
    return GeneratedFrames(**tables)
