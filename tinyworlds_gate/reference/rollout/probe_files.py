"""The files of a probe: what a fresh process is to generate, and the frames that it generated (`probe.py`).

The request holds context frames and action codes; no frame that is to be generated is in it.

Axes: K clips, P context frames, S generated frames, G steps, N transitions, H height, W width, C colours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tinyworlds_gate.errors import DataError
from tinyworlds_gate.reference.data.frames_file import read_stored
from tinyworlds_gate.reference.data.hdf5_input import open_hdf5
from tinyworlds_gate.reference.data.hdf5_output import new_hdf5
from tinyworlds_gate.reference.rollout.generated_frames import AGAIN
from tinyworlds_gate.run.atomic import atomic_path
from tinyworlds_gate.run.plain_json import parse_json

_MALFORMED = (KeyError, ValueError, TypeError, AttributeError)
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
        with open_hdf5(path, AGAIN, needed="request of a probe (HDF5)") as file:
            plain = parse_json(file.attrs[REQUEST])
            groups = {
                name: ProbeGroup(
                    read_stored(folder, "context", path, AGAIN),
                    read_stored(folder, "codes", path, AGAIN) if "codes" in folder else None,
                    read_stored(folder, "rows", path, AGAIN),
                    int(folder.attrs["seed"]),
                )
                for name, folder in file.items()
            }
        return ProbeRequest(groups=groups, **plain)
    except _MALFORMED as error:
        raise DataError(f"{path}: the request of a probe cannot be read ({error}); {AGAIN}") from error


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
    with open_hdf5(path, AGAIN, needed="file of true clips (HDF5)") as file:
        return read_stored(file, TRUE_CLIPS, path, AGAIN)


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
    if not os.path.lexists(path):
        raise DataError(f"{path}: the probe wrote no frames; {AGAIN}")
    try:
        with open_hdf5(path, AGAIN, needed="file of a probe's frames (HDF5)") as file:
            frames = {name: read_stored(file, name, path, AGAIN) for name in file}
            checkpoints = parse_json(file.attrs[CHECKPOINTS])
    except _MALFORMED as error:
        raise DataError(f"{path}: the frames of the probe cannot be read ({error}); {AGAIN}") from error
    codes, recon_mse = frames.pop(CODES, None), frames.pop(RECON_MSE, None)
    if not isinstance(checkpoints, dict):
        raise DataError(f"{path}: the attribute `{CHECKPOINTS}` is no mapping; {AGAIN}")
    for name, table in frames.items():
        if table.dtype != np.uint8 or table.ndim != 5:
            raise DataError(f"{path}: {name} must be uint8 with 5 axes; {AGAIN}")
    return ProbeResult(frames, checkpoints, codes, recon_mse)


def _write(folder: h5py.Group, name: str, frames: np.ndarray) -> None:
    chunks = (1, *frames.shape[1:])
    folder.create_dataset(name, data=frames, chunks=chunks, compression="gzip", compression_opts=1)
