"""The files of a probe: what a fresh process is to generate, and the frames that it generated (`probe.py`).

The request holds context frames and action codes; no frame that is to be generated is in it.

Axes: K clips, P context frames, S generated frames, G steps, N transitions, H height, W width, C colours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.hdf5_output import new_hdf5
from tinyworlds_gate.run.atomic import atomic_path

REQUEST, CHECKPOINTS = "request", "checkpoints"
CODES, RECON_MSE, TRUE_CLIPS = "codes", "recon_mse", "true_clips"


@dataclass(frozen=True)
class ProbeGroup:
    """Rollouts of K clips: ``context`` uint8 [K, P, H, W, C] and ``codes`` int16 [K, G, N] as in `GeneratedFrames`.

    ``codes`` None: the random actions of these ``rows`` [K] of all measured clips. ``seed``: of the first measured
    batch; each batch has that of the measured batch which its first row lies in.
    """

    context: np.ndarray
    codes: np.ndarray | None
    rows: np.ndarray
    seed: int


@dataclass(frozen=True)
class ProbeRequest:
    """Groups of rollouts by name, and how to generate them."""

    groups: Mapping[str, ProbeGroup]
    settings: Mapping[str, Any]
    """Fields of `MeasureSettings`."""
    clips: int
    """Number of all measured clips."""
    checkpoints: Mapping[str, str]
    """Stage → folder."""
    device: str = "auto"
    tf32: bool = True


@dataclass(frozen=True)
class ProbeResult:
    """Generated frames uint8 [K, S, H, W, C] by group, and stage → SHA-256 of the weights that generated them.

    ``codes`` int16 [K, G, N] and ``recon_mse`` [K] are inferred from true clips afterwards; None: there were none.
    """

    frames: Mapping[str, np.ndarray]
    checkpoints: Mapping[str, str]
    codes: np.ndarray | None = None
    recon_mse: np.ndarray | None = None


def write_request(path: Path, request: ProbeRequest) -> None:
    """Write a request; the file appears in full or not at all."""
    plain = {
        "settings": dict(request.settings),
        "clips": request.clips,
        "checkpoints": dict(request.checkpoints),
        "device": request.device,
        "tf32": request.tf32,
    }
    with atomic_path(path) as temporary, new_hdf5(temporary) as output:
        file = output.file
        file.attrs[REQUEST] = json.dumps(plain)
        for name, group in request.groups.items():
            folder = file.create_group(name)
            folder.attrs["seed"] = group.seed
            _write(folder, "context", group.context)
            folder["rows"] = group.rows
            if group.codes is not None:
                folder["codes"] = group.codes


def read_request(path: Path) -> ProbeRequest:
    """Read a file of `write_request`.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            plain = json.loads(file.attrs[REQUEST])
            groups = {
                name: ProbeGroup(
                    folder["context"][()],
                    folder["codes"][()] if "codes" in folder else None,
                    folder["rows"][()],
                    int(folder.attrs["seed"]),
                )
                for name, folder in file.items()
            }
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: the request of a probe cannot be read ({error}); run inference again") from error
    return ProbeRequest(groups=groups, **plain)


def write_true_clips(path: Path, frames_KTHWC: np.ndarray) -> None:
    """Write whole true clips, uint8, which a probe reads after it has generated its frames."""
    with atomic_path(path) as temporary, new_hdf5(temporary) as output:
        file = output.file
        _write(file, TRUE_CLIPS, frames_KTHWC)


def read_true_clips(path: Path) -> np.ndarray:
    """Read a file of `write_true_clips`.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            frames: np.ndarray = file[TRUE_CLIPS][()]
    except (OSError, KeyError, RuntimeError) as error:
        raise DataError(f"{path}: the true clips of a probe cannot be read ({error}); run inference again") from error
    return frames


def write_result(path: Path, result: ProbeResult) -> None:
    """Write the generated frames; the file appears in full or not at all."""
    with atomic_path(path) as temporary, new_hdf5(temporary) as output:
        file = output.file
        file.attrs[CHECKPOINTS] = json.dumps(dict(result.checkpoints))
        for name, frames in result.frames.items():
            _write(file, name, frames)
        for name, table in ((CODES, result.codes), (RECON_MSE, result.recon_mse)):
            if table is not None:
                file[name] = table


def read_result(path: Path) -> ProbeResult:
    """Read a file of `write_result`.

    Raises:
        DataError: the file is missing, damaged, or not of this layout.
    """
    try:
        with h5py.File(path, "r") as file:
            frames = {name: table[()] for name, table in file.items()}
            checkpoints = json.loads(file.attrs[CHECKPOINTS])
        codes, recon_mse = frames.pop(CODES, None), frames.pop(RECON_MSE, None)
    except FileNotFoundError as error:
        raise DataError(f"{path}: the probe wrote no frames; run inference again") from error
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        reason = f"({type(error).__name__}: {error})"
        raise DataError(f"{path}: the frames of the probe cannot be read {reason}; run inference again") from error
    for name, table in frames.items():
        if not isinstance(table, np.ndarray) or table.dtype != np.uint8 or table.ndim != 5:
            raise DataError(f"{path}: {name} must be uint8 with 5 axes; run inference again")
    return ProbeResult(frames, checkpoints, codes, recon_mse)


def _write(folder: h5py.Group, name: str, frames: np.ndarray) -> None:
    chunks = (1, *frames.shape[1:])
    folder.create_dataset(name, data=frames, chunks=chunks, compression="gzip", compression_opts=1)
