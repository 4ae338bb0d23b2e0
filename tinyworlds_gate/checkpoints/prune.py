"""Removes old checkpoints of a stage, after the newest one was verified (``--keep-checkpoints``)."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import list_checkpoints
from tinyworlds_gate.errors import CheckpointError


def prune_checkpoints(parent: Path, stage: str, keep: int, protect: Collection[Path] = ()) -> list[Path]:
    """Remove all but the newest ``keep`` valid checkpoints of ``stage`` in ``parent``; returns what was removed.

    Nothing is removed unless the newest checkpoint verifies. Invalid checkpoints do not count as kept, ``protect``
    (the gated ones) and symbolic links stay. A folder is renamed before it is deleted, so that a half-deleted one
    never looks like a checkpoint.

    Raises:
        CheckpointError: ``keep`` is below 1, or a folder cannot be removed.
    """
    if keep < 1:
        raise CheckpointError(f"--keep-checkpoints {keep}: at least 1 checkpoint of a stage must be kept")
    newest_first = [folder for _, folder in reversed(list_checkpoints(parent, stage)) if not folder.is_symlink()]
    if not newest_first or not _is_valid(newest_first[0]):
        return []
    valid, old = 1, []
    for folder in newest_first[1:]:
        if valid == keep:
            old.append(folder)
        elif _is_valid(folder):
            valid += 1
    guarded = {path.resolve() for path in protect}
    return [_remove(folder) for folder in reversed(old) if folder.resolve() not in guarded]


def _is_valid(folder: Path) -> bool:
    try:
        verify_checkpoint(folder)
    except CheckpointError:
        return False
    return True


def _remove(folder: Path) -> Path:
    doomed = folder.with_name(f".pruned-{folder.name}")
    try:
        if doomed.exists():  # an earlier removal was cut short
            shutil.rmtree(doomed)
        folder.rename(doomed)
        shutil.rmtree(doomed)
    except OSError as error:
        raise CheckpointError(f"old checkpoint {folder} cannot be removed: {error.strerror or error}") from error
    return folder
