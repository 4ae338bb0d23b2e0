"""Remove old checkpoints of a stage, and record which ones a gate was judged on (``--keep-checkpoints``)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import list_checkpoints, parse_folder_name
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.run.atomic import publish, sync, write_synced

Stamp = tuple[tuple[str, int, int, int], ...]


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
        is renamed before it is deleted, so that a partly deleted one never looks like a checkpoint.

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
            return False
        return True

    def _remove(self, folder: Path) -> Path:
        doomed = folder.with_name(f".pruned-{folder.name}")
        try:
            shutil.rmtree(doomed, ignore_errors=True)  # an earlier removal was cut short
            folder.rename(doomed)
            sync(folder.parent)
            shutil.rmtree(doomed)
        except OSError as error:
            raise CheckpointError(f"old checkpoint {folder} cannot be removed: {error.strerror or error}") from error
        return folder


def _stamp(folder: Path) -> Stamp:
    files = sorted(folder.iterdir())
    return tuple((file.name, (stat := file.stat()).st_size, stat.st_mtime_ns, stat.st_ino) for file in files)


_GATE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PREFIX = ".gated-"


def mark_gated(checkpoint: Path, gate: str) -> None:
    """Record that ``gate`` was judged on a checkpoint, so that no later chunk of the run prunes it (S4).

    One name for each gate: ``stage`` moves on with every chunk that passes, ``inference-1`` and ``inference-2`` stay
    with the attempts that they name. A kill at any moment leaves the old record or the new one.

    Raises:
        CheckpointError: the name of the gate or of the folder is not allowed, or the folder cannot be written.
    """
    if not _GATE.fullmatch(gate):
        raise CheckpointError(
            f"gate {gate!r}: allowed are small letters, digits and single dashes, such as inference-1"
        )
    if parse_folder_name(checkpoint.name) is None:
        raise CheckpointError(f"{checkpoint} is no checkpoint folder; only a <stage>_step_<n> folder is gated")
    record = checkpoint.with_name(f"{_PREFIX}{gate}")
    temporary = record.with_name(f"{record.name}.part")
    try:
        temporary.unlink(missing_ok=True)  # of a writer that was killed; a run has one
        write_synced(temporary, checkpoint.name.encode() + b"\n")
        publish(temporary, record)
    except OSError as error:
        raise CheckpointError(
            f"{record} cannot be written: {error.strerror or error}; without it {checkpoint.name} could be pruned"
        ) from error


def keep_gated(checkpoints: Iterable[Path], gate: str, *, run_root: Path) -> None:
    """``mark_gated`` for the checkpoints in this run's folder; those of other runs are not changed.

    Raises:
        CheckpointError: as ``mark_gated``.
    """
    for path in checkpoints:
        if path.resolve().is_relative_to(run_root.resolve()):
            mark_gated(path, gate)


def gated_checkpoints(parent: Path) -> dict[str, Path]:
    """Gate → the checkpoint folder it was judged on, for a ``checkpoints/`` folder; empty where no gate was.

    Raises:
        CheckpointError: a record cannot be read.
    """
    found: dict[str, Path] = {}
    try:
        for record in sorted(parent.glob(f"{_PREFIX}*")):
            gate = record.name.removeprefix(_PREFIX)
            if _GATE.fullmatch(gate):
                found[gate] = parent / record.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"the gated checkpoints of {parent} are unknown ({error}); none is pruned") from error
    return found
