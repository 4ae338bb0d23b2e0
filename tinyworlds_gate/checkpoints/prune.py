"""Removes old checkpoints of a stage, after the newest one was verified (``--keep-checkpoints``)."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from tinyworlds_gate.checkpoints.durable import sync_folder
from tinyworlds_gate.checkpoints.gated import gated_checkpoints
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import list_checkpoints
from tinyworlds_gate.errors import CheckpointError

Stamp = tuple[tuple[str, int, int, int], ...]


def prune_checkpoints(parent: Path, stage: str, keep: int, protect: Collection[Path] = ()) -> list[Path]:
    """``Retention(parent, stage, keep).prune(protect)`` for one time."""
    return Retention(parent, stage, keep).prune(protect)


class Retention:
    """Keeps the newest valid checkpoints of one stage in a folder, and those that a gate was judged on.

    It remembers what it verified, so that a training that prunes after every checkpoint reads each only once while
    its files stay as they are (name, size, modification time, inode).
    """

    def __init__(self, parent: Path, stage: str, keep: int) -> None:
        """Raises CheckpointError when ``keep`` is below 1."""
        if keep < 1:
            raise CheckpointError(f"--keep-checkpoints {keep}: at least 1 checkpoint of a stage must be kept")
        self.parent, self.stage, self.keep = parent, stage, keep
        self._verified: dict[Path, Stamp] = {}

    def prune(self, protect: Collection[Path] = ()) -> list[Path]:
        """Remove all but the newest ``keep`` valid checkpoints; returns what was removed, oldest first.

        Nothing is removed unless the newest checkpoint verifies. Invalid checkpoints do not count as kept. What a gate
        was judged on (``mark_gated``), ``protect`` (where this chunk resumed from) and symbolic links stay. A folder
        is renamed before it is deleted, so that a half-deleted one never looks like a checkpoint.

        Raises:
            CheckpointError: a folder cannot be removed, or it cannot be read which ones are gated.
        """
        newest_first = [folder for _, folder in list_checkpoints(self.parent, self.stage) if not folder.is_symlink()]
        newest_first.reverse()
        if len(newest_first) <= self.keep or not self._is_valid(newest_first[0]):
            return []
        valid, old = 1, []
        for folder in newest_first[1:]:
            if valid == self.keep:
                old.append(folder)
            elif self._is_valid(folder):
                valid += 1
        guarded = {path.resolve() for path in (*protect, *gated_checkpoints(self.parent).values())}
        return [self._remove(folder) for folder in reversed(old) if folder.resolve() not in guarded]

    def _is_valid(self, folder: Path) -> bool:
        try:
            stamp = _stamp(folder)
            if self._verified.get(folder) != stamp:
                verify_checkpoint(folder, expected_stage=self.stage)
                self._verified[folder] = stamp
        except (CheckpointError, OSError):
            self._verified.pop(folder, None)
            return False
        return True

    def _remove(self, folder: Path) -> Path:
        self._verified.pop(folder, None)
        doomed = folder.with_name(f".pruned-{folder.name}")
        try:
            shutil.rmtree(doomed, ignore_errors=True)  # an earlier removal was cut short
            folder.rename(doomed)
            sync_folder(folder.parent)
            shutil.rmtree(doomed)
        except OSError as error:
            raise CheckpointError(f"old checkpoint {folder} cannot be removed: {error.strerror or error}") from error
        return folder


def _stamp(folder: Path) -> Stamp:
    files = sorted(folder.iterdir())
    return tuple((file.name, (stat := file.stat()).st_size, stat.st_mtime_ns, stat.st_ino) for file in files)
