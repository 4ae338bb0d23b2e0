"""Read the three files of a checkpoint without running pickled code.

Tensors are read by torch with ``weights_only=True``; ``state.pt`` goes through the restricted reader of ``unpickle``,
because TinyWorlds pickles a configuration class of its own into it.
"""

from __future__ import annotations

import os
import pickle
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.checkpoints.archive import open_archive
from tinyworlds_gate.checkpoints.checked_pickle import FIX, checked_pickle, shortened
from tinyworlds_gate.checkpoints.layout import MODEL_FILE, OPTIM_FILE, STATE_FILE
from tinyworlds_gate.checkpoints.pickled_objects import NAMES_OF_TENSORS
from tinyworlds_gate.checkpoints.unpickle import load_plain
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.run.regular_file import regular_file_problem

if TYPE_CHECKING:
    from torch import Tensor

LONGEST_NAME = 512
# Wrappers (DistributedDataParallel, torch.compile) put these before every name.
_WRAPPER_PREFIXES = ("module.", "_orig_mod.")


def read_model_state(path: Path, map_location: str = "cpu", mmap: bool = True) -> dict[str, Tensor]:
    """Parameter name → tensor of a checkpoint folder (or of a ``model_state_dict.pt``), on ``map_location``.

    With ``mmap`` the tensors are views of the file: memory is taken when they are touched. Names lose the prefixes that
    wrappers of a module put before all of them.

    Raises:
        CheckpointError: the file is absent, damaged, empty, or holds something other than named tensors.
    """
    import torch

    file = _file_in(path, MODEL_FILE)
    loaded = _load_tensors(file, map_location, mmap)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{file} holds a {type(loaded).__name__}; expected a mapping of names to tensors")
    if not loaded:
        raise CheckpointError(
            f"{file} holds no tensors: an empty state dictionary ({file.stat().st_size} bytes), as a rank other than 0 "
            "writes it. Save from rank 0 only, and use another checkpoint"
        )
    for name, tensor in loaded.items():
        if isinstance(name, str) and len(name) > LONGEST_NAME:
            raise CheckpointError(
                f"{file} names a tensor with {len(name)} characters ({name[:40]}…); up to {LONGEST_NAME} are read. Use "
                "the checkpoint as training wrote it"
            )
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise CheckpointError(
                f"{file}: entry {reprlib.repr(name)} is a {type(tensor).__name__}; expected named tensors only"
            )
    return without_wrappers(loaded)


def read_optim_state(path: Path, map_location: str = "cpu", mmap: bool = False) -> dict[str, Any]:
    """The optimizer's ``state_dict()`` of a checkpoint folder (or of an ``optim_state_dict.pt``).

    Raises:
        CheckpointError: the file is absent, damaged or empty, or holds no ``state`` and ``param_groups``.
    """
    file = _file_in(path, OPTIM_FILE)
    loaded = _load_tensors(file, map_location, mmap)
    if not isinstance(loaded, dict) or not loaded:
        raise CheckpointError(f"{file} holds no optimizer state: an empty {type(loaded).__name__}")
    return loaded


def read_state(path: Path) -> dict[str, Any]:
    """``state.pt`` of a checkpoint folder (or the file itself) as plain data: scheduler, config, step, timestamp, …

    Raises:
        CheckpointError: the file is absent or damaged, holds no mapping, or its pickle names something to call.
    """
    file = _file_in(path, STATE_FILE)
    loaded = load_plain(file)
    if not isinstance(loaded, dict):
        raise CheckpointError(f"{file} holds a {type(loaded).__name__}; expected a mapping with step and config")
    return loaded


def _file_in(path: Path, name: str) -> Path:
    file = path / name if os.path.isdir(path) else path
    problem = regular_file_problem(file)
    if problem is not None:
        raise CheckpointError(f"{file} {problem}; a checkpoint folder needs its {name}")
    return file


def _load_tensors(file: Path, map_location: str, mmap: bool) -> Any:
    import torch

    with open_archive(file) as archive:
        checked_pickle(archive, NAMES_OF_TENSORS)
        try:
            return torch.load(archive.name(), map_location=map_location, weights_only=True, mmap=mmap)
        except pickle.UnpicklingError as error:
            reason = shortened(error)
            raise CheckpointError(
                f"{file} is refused: it holds more than tensors and plain data ({reason}). {FIX}"
            ) from error
        except (RuntimeError, OSError, ValueError, TypeError, LookupError, AttributeError, EOFError) as error:
            raise CheckpointError(f"{file} is damaged and cannot be loaded: {shortened(error)}") from error


def without_wrappers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under their names without the prefixes of DistributedDataParallel and torch.compile."""
    for prefix in _WRAPPER_PREFIXES * 2:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return dict(state)
