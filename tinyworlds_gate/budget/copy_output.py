"""Copy the checkpoints of a command into the judge's folder: regular files only, through no link, within a size."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from tinyworlds_gate.checkpoints.layout import folder_name, parse_folder_name
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.formats import size_text
from tinyworlds_gate.run.owned import open_owned
from tinyworlds_gate.run.regular_file import sparse_problem

if TYPE_CHECKING:
    from hashlib import _Hash

NEWEST = 2
"""Checkpoints of a stage that are copied: the newest may be half written."""
MOST_FILES = 64
"""In one checkpoint."""
_BLOCK = 1 << 20


@dataclass
class _Room:
    """Bytes that may still be copied."""

    left: int
    allowed: int

    def take(self, count: int, name: str) -> None:
        self.left -= count
        if self.left < 0:
            raise CheckpointError(
                f"{name}: the checkpoints have more than {size_text(self.allowed)}; write smaller ones, or allow more "
                "(--max-output)"
            )


def copy_checkpoints(output: Path, weights: Path, most_bytes: int) -> dict[str, str]:
    """Copy the newest checkpoints of each stage to ``weights``/<stage>/<stage>_step_<n>/; stage → SHA-256 of its files.

    They lie in ``output`` as `<stage>_step_<n>/` or `<stage>/checkpoints/<stage>_step_<n>/`.

    Raises:
        CheckpointError: a stage has none, or what is there is no plain checkpoint folder.
    """
    require_folder(output)
    room, digests = _Room(most_bytes, most_bytes), {}
    for stage in STAGES:
        found = sorted({*_named(output, Path(), stage), *_named(output, Path(stage, "checkpoints"), stage)})
        if not found:
            raise CheckpointError(
                f"the command left no checkpoint of {stage}: {folder_name(stage, 0)}/ (with its number of updates) is "
                "needed in the output folder"
            )
        digest = sha256()
        for step, below in found[-NEWEST:]:
            _copy_folder(output, below, weights / stage / folder_name(stage, step), room, digest)
        digests[stage] = digest.hexdigest()
    return digests


def copy_file(output: Path, name: str, target: Path, most_bytes: int) -> str:
    """Copy one file of the output folder; return its SHA-256.

    Raises:
        CheckpointError: it is missing, no regular file, or too large.
    """
    require_folder(output)
    digest = sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    _copy(output, Path(name), target, _Room(most_bytes, most_bytes), digest)
    return digest.hexdigest()


def require_folder(output: Path) -> None:
    """Refuse an output folder that is gone or became a link.

    Raises:
        CheckpointError: it is no folder.
    """
    try:
        found = os.lstat(output)
    except OSError as error:
        raise CheckpointError(
            f"the output folder {output.name} is gone ({error.strerror}): the command must leave it in its place"
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise CheckpointError(
            f"the output folder {output.name} was replaced by a link or a file; leave the folder there"
        )


def _named(output: Path, below: Path, stage: str) -> list[tuple[int, Path]]:
    """(step, path below ``output``) of the entries that are named as checkpoints of a stage; links are not followed."""
    folder = output
    for part in below.parts:
        folder = folder / part
        if not folder.is_dir() or folder.is_symlink():
            return []
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise CheckpointError(f"the output folder cannot be listed ({error.strerror}); leave it readable") from error
    parsed = ((parse_folder_name(name), name) for name in names)
    return [(one[1], below / name) for one, name in parsed if one is not None and one[0] == stage]


def _copy_folder(output: Path, below: Path, target: Path, room: _Room, digest: _Hash) -> None:
    path = output / below
    if path.is_symlink() or not path.is_dir():
        raise CheckpointError(f"{below} is a link or a file, no folder; write the checkpoint itself")
    try:
        names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    except OSError as error:
        raise CheckpointError(f"{below} cannot be listed ({error.strerror}); leave it readable") from error
    if len(names) > MOST_FILES:
        raise CheckpointError(f"{below} holds {len(names)} files; a checkpoint has {MOST_FILES} at most")
    target.mkdir(parents=True)
    for name in names:
        if (path / name).is_dir() and not (path / name).is_symlink():
            raise CheckpointError(f"{below / name} is a folder; a checkpoint holds files only")
        _copy(output, below / name, target / name, room, digest)


def _copy(output: Path, below: Path, target: Path, room: _Room, digest: _Hash) -> None:
    try:
        descriptor = open_owned(output, below)
    except OSError as error:
        reasons = {errno.ENOENT: "is missing", errno.EACCES: "cannot be read; leave it readable"}
        reason = reasons.get(error.errno or 0, f"is not copied: {error.strerror}")
        raise CheckpointError(f"{below} {reason}") from error
    with os.fdopen(descriptor, "rb") as source, target.open("xb") as copy:
        problem = sparse_problem(os.fstat(descriptor))
        if problem is not None:
            raise CheckpointError(f"{below} {problem}")
        digest.update(f"{below.name}\0".encode())
        while block := source.read(_BLOCK):
            room.take(len(block), str(below))
            digest.update(block)
            copy.write(block)
