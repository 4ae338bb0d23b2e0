"""Where a checkpoint lies: ``<run>/<stage>/checkpoints/<stage>_step_<n>/`` and its files (docs/external-checkouts.md).

``n`` is the 0-based last update. Folders whose name starts with a dot are unfinished, rejected or pruned ones and never
count as checkpoints.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.layout import RunLayout

MODEL_FILE = "model_state_dict.pt"
OPTIM_FILE = "optim_state_dict.pt"
STATE_FILE = "state.pt"
MANIFEST_FILE = "manifest.json"

_FOLDER = re.compile(rf"(?P<stage>{'|'.join(STAGES)})_step_(?P<step>0|[1-9][0-9]{{0,17}})")


@dataclass(frozen=True)
class CheckpointRef:
    """A checkpoint that was verified: what it is, where it lies and what its weights hash to.

    ``parameters`` counts the elements of the floating-point tensors (buffers such as ``quantizer.basis`` are integers).
    ``manifest`` is the verified ``manifest.json``, or None for a checkpoint that TinyWorlds itself wrote.
    """

    stage: str
    step: int
    path: Path
    model_sha256: str
    parameters: int
    manifest: Mapping[str, Any] | None = field(default=None, hash=False)


def check_stage(stage: str) -> str:
    """Return ``stage``; raises CheckpointError when it is none of the three."""
    if stage not in STAGES:
        raise CheckpointError(f"unknown stage {stage!r}; allowed: {', '.join(STAGES)}")
    return stage


def folder_name(stage: str, step: int) -> str:
    """``<stage>_step_<n>``; raises CheckpointError for an unknown stage or a negative step."""
    check_stage(stage)
    if step < 0:
        raise CheckpointError(f"a checkpoint of {stage} cannot have step {step}; steps are 0-based updates, 0 or more")
    return f"{stage}_step_{step}"


def parse_folder_name(name: str) -> tuple[str, int] | None:
    """(stage, step) of a checkpoint folder's name, or None when the name is not one."""
    match = _FOLDER.fullmatch(name)
    return (match["stage"], int(match["step"])) if match else None


def list_checkpoints(parent: Path, stage: str) -> list[tuple[int, Path]]:
    """(step, folder) of the folders of ``stage`` in a ``checkpoints/`` folder, oldest step first; nothing is verified.

    Raises CheckpointError when the folder exists and cannot be read. An absent folder holds no checkpoints.
    """
    check_stage(stage)
    return [(step, path) for found, step, path in _folders_in(parent) if found == stage]


def other_stages_in(parent: Path, stage: str) -> list[tuple[str, int, Path]]:
    """(stage, step, folder) of the folders in ``parent`` that are named for another stage than ``stage``."""
    check_stage(stage)
    return [entry for entry in _folders_in(parent) if entry[0] != stage]


def _folders_in(parent: Path) -> list[tuple[str, int, Path]]:
    try:
        entries = list(parent.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"cannot list {parent}: {error.strerror or error}; give a readable folder") from error
    found = []
    for entry in entries:
        parsed = parse_folder_name(entry.name)
        if parsed is not None and os.path.isdir(entry):
            found.append((*parsed, entry))
    return sorted(found)


def checkpoint_event(layout: RunLayout, reference: CheckpointRef | None) -> dict[str, Any] | None:
    """The journal's form of a checkpoint."""
    if reference is None:
        return None
    return {
        "path": layout.relative(reference.path),
        "step": reference.step,
        "sha256": reference.model_sha256,
        "parameters": reference.parameters,
    }
