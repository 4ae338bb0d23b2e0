"""The frames that a rollout generated, as bytes: what the harness computes the errors from once more.

Beside the judged rollout stand two probes, rollouts of the first clips that must give the same frames again:

- ``withheld``: the true future is replaced by noise; the actions are those that were inferred before. A model that is
  rolled out strictly never sees that future, so nothing changes unless the truth leaks.
- ``repeated``: everything drawn at random is drawn from another seed. At temperature 0 nothing is.

Axes: B clips, K clips of the first batch, S generated frames, H height, W width, C colours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError

DATASETS = ("predicted", "withheld", "repeated")


@dataclass(frozen=True)
class GeneratedFrames:
    """All uint8: ``predicted`` [B, S, H, W, C]; ``withheld`` and ``repeated`` [K, S, H, W, C]."""

    predicted: np.ndarray
    withheld: np.ndarray
    repeated: np.ndarray


def write_generated(path: Path, frames: GeneratedFrames) -> None:
    """Write the frames, compressed a clip at a time, through a temporary file and one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with h5py.File(temporary, "w") as file:
        for name in DATASETS:
            table: np.ndarray = getattr(frames, name)
            file.create_dataset(name, data=table, chunks=(1, *table.shape[1:]), compression="gzip", compression_opts=1)
    temporary.replace(path)


def read_generated(path: Path) -> GeneratedFrames:
    """Read what :func:`write_generated` wrote.

    Raises:
        DataError: the file is missing or damaged, or holds something else.
    """
    try:
        with h5py.File(path, "r") as file:
            tables = {name: file[name][()] for name in DATASETS}
    except FileNotFoundError as error:
        raise DataError(f"{path}: the inference run left no generated frames; run inference again") from error
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(
            f"{path}: the generated frames cannot be read ({type(error).__name__}: {error}); run inference again"
        ) from error
    for name, table in tables.items():
        if not isinstance(table, np.ndarray) or table.dtype != np.uint8 or table.ndim != len("BSHWC"):
            raise DataError(f"{path}: {name} is no table of frames, uint8 [clips, steps, height, width, colours]")
    return GeneratedFrames(**tables)
