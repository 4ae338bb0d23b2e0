"""Publish several frames files of one command: all of them, or a rerun of the command completes them.

Each file is complete and on the disk as ``.NAME.ready`` before a record of all their SHA-256 is written beside the
first one. Then they are renamed. A rerun that finds the record goes on renaming; without it, it starts anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.integrity import sha256_of
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.reference.data.frames_writer import refuse_existing, write_lock
from tinyworlds_gate.run.atomic import publish, sync

About = Mapping[str, Any]


@contextmanager
def write_locks(paths: Sequence[Path]) -> Iterator[None]:
    """Hold the locks for writing all of ``paths``; other writers wait."""
    with ExitStack() as stack:
        for path in sorted(set(paths)):
            stack.enter_context(write_lock(path))
        yield


def set_ready(temporary: Path, path: Path) -> None:
    """Bring a complete temporary file of ``path`` to the disk, for ``publish_together``."""
    sync(temporary)
    os.replace(temporary, _ready(path))


def publish_together(paths: Sequence[Path], about: About) -> None:
    """Rename the ready files to ``paths``. Needs ``write_locks``.

    Args:
        about: what a rerun compares with its own arguments; JSON values.
    """
    digests = [sha256_of(_ready(path)) for path in paths]
    record = {"about": dict(about), "sha256": digests}
    for path in paths:
        sync(path.parent)
    temporary = _record(paths).with_suffix(".part")
    temporary.write_text(json.dumps(record), encoding="utf-8")
    publish(temporary, _record(paths))
    _rename(paths, digests)
    _forget(paths)


def complete_earlier(paths: Sequence[Path]) -> About | None:
    """Complete what a killed command with these outputs left, and return its ``about``; None where nothing is complete.

    Then nothing of it is left, and the command starts anew. Needs ``write_locks``.

    Raises:
        DataError: another file has taken the name of an output.
    """
    try:
        record = json.loads(_record(paths).read_text(encoding="utf-8"))
        about, digests = dict(record["about"]), [str(one) for one in record["sha256"]]
    except (OSError, ValueError, KeyError, TypeError):
        about, digests = {}, []
    whole = [_found(path, digest) for path, digest in zip(paths, digests, strict=False)]
    if len(digests) == len(paths) and all(whole):
        _rename(paths, digests)
        _forget(paths)
        return about
    for path, found in zip(paths, whole, strict=False):
        if found == path:  # this command wrote it, and the file beside it is lost
            path.unlink()
    _forget(paths)
    return None


def _rename(paths: Sequence[Path], digests: Sequence[str]) -> None:
    for path, digest in zip(paths, digests, strict=True):
        if _found(path, digest) == path:
            continue
        refuse_existing(path)
        os.replace(_ready(path), path)
        sync(path.parent)


def _found(path: Path, digest: str) -> Path | None:
    """The place of a file with these bytes: its final name, or the one before; None where it is lost."""
    for place in (path, _ready(path)):
        try:
            if place.is_file() and not place.is_symlink() and sha256_of(place) == digest:
                return place
        except CheckpointError:
            continue
    return None


def _forget(paths: Sequence[Path]) -> None:
    for path in paths:
        _ready(path).unlink(missing_ok=True)
    for left in (_record(paths).with_suffix(".part"), _record(paths)):
        left.unlink(missing_ok=True)


def _ready(path: Path) -> Path:
    return path.with_name(f".{path.name}.ready")


def _record(paths: Sequence[Path]) -> Path:
    return paths[0].with_name(f".{paths[0].name}.together.json")
