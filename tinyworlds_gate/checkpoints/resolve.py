"""Turns what a user or the journal names (``--*-checkpoint``) into one verified checkpoint; no search across runs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import CheckpointRef, check_stage, list_checkpoints, parse_folder_name
from tinyworlds_gate.errors import CheckpointError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Skipped:
    """A checkpoint that was newer than the one taken and cannot be trusted."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Resolution:
    """The newest valid checkpoint and the newer ones that were passed over."""

    ref: CheckpointRef
    skipped: tuple[Skipped, ...]


def resolve_checkpoint(path: Path, stage: str, *, require_optimizer: bool = True) -> CheckpointRef:
    """``find_checkpoint(...).ref``; a checkpoint that was passed over is logged as a warning with its reason."""
    found = find_checkpoint(path, stage, require_optimizer=require_optimizer)
    for skipped in found.skipped:
        _log.warning("passed over %s: %s", skipped.path, skipped.reason)
    return found.ref


def find_checkpoint(path: Path, stage: str, *, require_optimizer: bool = True) -> Resolution:
    """The checkpoint that ``path`` means for ``stage``.

    ``path`` is a ``<stage>_step_<n>`` folder, which must be valid, or its ``checkpoints/`` parent, of which the newest
    valid one is taken.

    Raises:
        CheckpointError: the path is neither, is of another stage, or holds no valid checkpoint (with each reason).
    """
    check_stage(stage)
    if parse_folder_name(path.name) is not None:
        ref = verify_checkpoint(path, expected_stage=stage, require_optimizer=require_optimizer)
        return Resolution(ref, ())
    candidates = list_checkpoints(path, stage) if path.is_dir() else []
    if not candidates:
        raise CheckpointError(_not_found(path, stage))
    skipped: list[Skipped] = []
    for step, folder in reversed(candidates):
        try:
            ref = verify_checkpoint(
                folder, expected_stage=stage, expected_step=step, require_optimizer=require_optimizer
            )
        except CheckpointError as error:
            skipped.append(Skipped(folder, str(error)))
        else:
            return Resolution(ref, tuple(skipped))
    reasons = "\n".join(f"  {entry.path.name}: {entry.reason}" for entry in skipped)
    raise CheckpointError(f"{path} holds no valid checkpoint of {stage}; each was refused:\n{reasons}")


def _not_found(path: Path, stage: str) -> str:
    if not path.exists():
        found = "it does not exist"
    elif not path.is_dir():
        found = "it is a file"
    elif list_checkpoints(path / "checkpoints", stage):
        found = f"did you mean {path / 'checkpoints'}?"
    else:
        found = f"it holds no {stage}_step_<n> folder"
    return (
        f"no checkpoint of {stage} at {path}: {found}. Allowed: a {stage}_step_<n> folder, or the checkpoints/ folder "
        "that holds some (the newest valid one is taken)"
    )
