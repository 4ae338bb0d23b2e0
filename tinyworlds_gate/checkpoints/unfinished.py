"""Remove what dead writers left in a ``checkpoints/`` folder."""

from __future__ import annotations

import re
from pathlib import Path

from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.unfinished import TEMPORARY, remove, remove_if_dead

_STEP = rf"(?P<stage>{'|'.join(STAGES)})_step_(?:0|[1-9][0-9]*)"
_TEMPORARY = re.compile(rf"\.{_STEP}\.{TEMPORARY}")
_PRUNED = re.compile(rf"\.pruned-{_STEP}")


def remove_leftovers(parent: Path, stage: str) -> list[Path]:
    """Remove what dead writers of ``stage`` left in a ``checkpoints/`` folder; returns what is gone.

    These are temporary folders that nobody holds and folders that were renamed to be pruned. Whatever has another
    name, is a link, or lies on a file system without locks stays.
    """
    gone = []
    try:
        entries = sorted(parent.iterdir())
    except OSError:
        return []  # the next write reports the error
    for entry in entries:
        if entry.is_symlink() or not entry.is_dir():
            continue
        temporary, pruned = _TEMPORARY.fullmatch(entry.name), _PRUNED.fullmatch(entry.name)
        if (temporary and temporary["stage"] == stage and remove_if_dead(entry)) or (
            pruned and pruned["stage"] == stage and remove(entry)
        ):
            gone.append(entry)
    return gone
