"""The functions of the product that read checkpoints and HDF5 files."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from tests.hostile_files.run_cases import Readers
from tinyworlds_gate.checkpoints.describe import describe_checkpoint
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.read import read_model_state, read_optim_state, read_state
from tinyworlds_gate.checkpoints.resolve import newest_of_run, resolve_checkpoint
from tinyworlds_gate.cli.score_frames import read_given_frames
from tinyworlds_gate.reference.data import hdf5_input
from tinyworlds_gate.reference.data.clip_reader import read_clips, read_episodes
from tinyworlds_gate.reference.data.export_frames import export_frames
from tinyworlds_gate.reference.data.frame_codes import read_known
from tinyworlds_gate.reference.data.frames_file import check_frames_file, load_frames
from tinyworlds_gate.reference.data.import_hdf5 import import_hdf5
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.rollout.generated_frames import read_generated
from tinyworlds_gate.reference.rollout.probe_files import read_request, read_result, read_true_clips


def _newest(folder: Path) -> None:
    if os.path.isdir(folder):
        newest_of_run(folder.parent, "dynamics", run="x")


def _sizes(folder: Path) -> None:
    """Build the sizes of a model, with those that the checkpoint does not have."""
    known = {"frame_size": 16, "patch_size": 4, "hidden_dim": 8, "num_blocks": 1, "latent_dim": 2, "num_bins": 4}
    ModelSizes.from_mapping({**known, "n_actions": 4, "context_length": 4, **describe_checkpoint(folder).known()})


def examine_hdf5(path: Path) -> None:
    """Have the file examined by the child of this process, whose answer the forked readers know then."""
    with suppress(OSError, ValueError):
        if path.is_file():
            hdf5_input._EXAMINER.problem(path)


def _read_clips(path: Path) -> None:
    read_clips(path, np.array([0, 2]), 3, frame_size=8)


def _import(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        import_hdf5(path, "x", project_root=Path(folder))


def _export(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        export_frames(path, Path(folder) / "x.h5", "minigrid")


HDF5_READERS: Readers = (
    check_frames_file,
    load_frames,
    lambda path: load_frames(path, frame_size=4),
    _read_clips,
    read_episodes,
    lambda path: read_given_frames(path, ""),
    read_generated,
    read_result,
    read_request,
    read_true_clips,
    read_known,
    _import,
    _export,
)

CHECKPOINT_READERS: Readers = (
    verify_checkpoint,
    lambda folder: verify_checkpoint(folder, require_optimizer=False),
    lambda folder: resolve_checkpoint(folder, "dynamics"),
    _newest,
    _sizes,
    read_state,
    read_model_state,
    lambda folder: read_model_state(folder, mmap=False),
    read_optim_state,
)
