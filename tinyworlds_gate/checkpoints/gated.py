"""Which checkpoints a gate was judged on: ``.gated-<gate>`` beside them holds the name, and pruning leaves them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from tinyworlds_gate.checkpoints.durable import sync_folder, write_synced
from tinyworlds_gate.checkpoints.layout import parse_folder_name
from tinyworlds_gate.errors import CheckpointError

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
        os.replace(temporary, record)
        sync_folder(record.parent)
    except OSError as error:
        raise CheckpointError(
            f"{record} cannot be written: {error.strerror or error}; without it {checkpoint.name} could be pruned"
        ) from error


def keep_gated(checkpoints: Iterable[Path], gate: str, *, run_root: Path) -> None:
    """``mark_gated`` for those that lie in this run's folder; what belongs to another run is not ours to mark.

    Raises:
        CheckpointError: as ``mark_gated``.
    """
    for path in checkpoints:
        if path.resolve().is_relative_to(run_root.resolve()):
            mark_gated(path, gate)


def gated_checkpoints(parent: Path) -> dict[str, Path]:
    """Gate → the checkpoint folder it was judged on, for a ``checkpoints/`` folder; empty where no gate was.

    Raises:
        CheckpointError: a record cannot be read, so that it is unknown what has to stay.
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
