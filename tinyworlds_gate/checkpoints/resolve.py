"""Resolve a path (``--*-checkpoint``, or from the journal) to one verified checkpoint; never searches other runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.describe import describe_checkpoint, same_size
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.checkpoints.layout import (
    CheckpointRef,
    check_stage,
    list_checkpoints,
    other_stages_in,
    parse_folder_name,
)
from tinyworlds_gate.checkpoints.published import CONVERTED, convert_published, is_published, published_files
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.run.regular_file import regular_file_problem

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Skipped:
    """A newer checkpoint that was skipped because it is invalid."""

    path: Path
    reason: str


def resolve_checkpoint(path: Path, stage: str, *, require_optimizer: bool = True) -> CheckpointRef:
    """The checkpoint that ``path`` means for ``stage``.

    ``path`` is a ``<stage>_step_<n>`` folder, which must be valid, or its ``checkpoints/`` parent, of which the newest
    valid one is taken and each newer one logged as a warning with its reason; or a single file of published weights,
    or a folder of such files (``published.py``).

    Raises:
        CheckpointError: the path is neither, is of another stage, or holds no valid checkpoint (with each reason).
    """
    check_stage(stage)
    if parse_folder_name(path.name) is not None:
        return verify_checkpoint(path, expected_stage=stage, require_optimizer=require_optimizer)
    if is_published(path):
        return _of_published(path, stage, require_optimizer)
    candidates = list_checkpoints(path, stage) if os.path.isdir(path) else []
    if not candidates:
        files = published_files(path, stage) if os.path.isdir(path) else []
        if not files:
            raise CheckpointError(_not_found(path, stage))
        return _of_published(files[-1], stage, require_optimizer)
    skipped: list[Skipped] = []
    for step, folder in reversed(candidates):
        try:
            ref = verify_checkpoint(
                folder, expected_stage=stage, expected_step=step, require_optimizer=require_optimizer
            )
        except CheckpointError as error:
            skipped.append(Skipped(folder, str(error)))
        else:
            for entry in skipped:
                _log.warning("skipped %s: %s", entry.path, entry.reason)
            return ref
    reasons = "\n".join(f"  {entry.path.name}: {entry.reason}" for entry in skipped)
    raise CheckpointError(f"{path} holds no valid checkpoint of {stage}; each was refused:\n{reasons}")


def _of_published(file: Path, stage: str, require_optimizer: bool) -> CheckpointRef:
    """The checkpoint folder of a single file, which is written beside it."""
    converted = convert_published(file, file.parent / CONVERTED)
    return verify_checkpoint(converted.path, expected_stage=stage, require_optimizer=require_optimizer)


def _not_found(path: Path, stage: str) -> str:
    problem = regular_file_problem(path)
    if not os.path.isdir(path):
        found = f"it {problem or 'is a file'}"
    elif list_checkpoints(path / "checkpoints", stage):
        found = f"did you mean {path / 'checkpoints'}?"
    else:
        found = f"it holds no {stage}_step_<n> folder"
    return (
        f"no checkpoint of {stage} at {path}: {found}. Allowed: a {stage}_step_<n> folder, or the checkpoints/ folder "
        "that holds some (the newest valid one is taken), or a single .pth file of weights, or a folder of such files"
    )


def newest_of_run(
    folder: Path,
    stage: str,
    *,
    run: str,
    below_step: int | None = None,
    sizes: Mapping[str, int] | None = None,
    lineage: Mapping[str, Any] | None = None,
) -> tuple[CheckpointRef | None, tuple[Skipped, ...]]:
    """Find the newest checkpoint in a run's ``checkpoints/`` folder from which a stage can resume (S4, H7).

    Args:
        folder: ``<run>/<stage>/checkpoints``; one that is absent holds nothing.
        run: the run's name, which the manifest must record. A checkpoint without a manifest, as TinyWorlds writes
            them, is taken by its place.
        below_step: only 0-based steps below it count; None: all do.
        sizes: size name → the configs' value (``ModelSizes``); a model of other sizes is refused. Not read when None.
        lineage: manifest entry → value, such as ``tokenizer_sha256``; a manifest that says another value is refused.

    Returns:
        The checkpoint, None when no valid one lies in the range, and each newer one in the range that was refused,
        newest first, with its reason. A folder of another stage that lies there is among them.

    Raises:
        CheckpointError: the folder exists and cannot be listed, or the stage is unknown.
    """

    def in_range(step: int) -> bool:
        return below_step is None or step < below_step

    skipped = [
        Skipped(path, f"{path} is a checkpoint of {other} in a folder of {stage}; the folder was swapped")
        for other, step, path in other_stages_in(folder, stage)
        if in_range(step)
    ]
    for step, path in reversed(list_checkpoints(folder, stage)):
        if not in_range(step):
            continue
        try:
            reference = _of_this_run(path, stage, step, run, lineage or {})
            if sizes:
                _require_sizes(reference, sizes)
        except CheckpointError as error:
            skipped.append(Skipped(path, str(error)))
        else:
            return reference, tuple(skipped)
    return None, tuple(skipped)


def _of_this_run(path: Path, stage: str, step: int, run: str, lineage: Mapping[str, Any]) -> CheckpointRef:
    if path.resolve().parent != path.parent.resolve():
        raise CheckpointError(f"{path} is a link to {path.resolve()}, which is no folder of run {run}; it is not used")
    reference = verify_checkpoint(path, expected_stage=stage, expected_step=step)
    if reference.manifest is None:
        return reference
    recorded = reference.manifest.get("run")
    if recorded != run:
        origin = (
            f"was written by run {recorded[:80]}" if isinstance(recorded, str) else "records no run in its manifest"
        )
        raise CheckpointError(f"{path} {origin}, not by {run}; only checkpoints of this run are continued")
    for entry, value in lineage.items():
        if (found := reference.manifest.get(entry)) != value:
            raise CheckpointError(
                f"{path} records {entry} {str(found)[:80]}, but {value} is in use; it cannot be continued with it"
            )
    return reference


def _require_sizes(reference: CheckpointRef, sizes: Mapping[str, int]) -> None:
    described = describe_checkpoint(reference)
    for name, value in described.known().items():
        if name in sizes and not same_size(name, value, sizes[name]):
            raise CheckpointError(
                f"{reference.path}: {name} is {value} in the checkpoint, but {sizes[name]} in the configs; it was "
                "trained with another configuration"
            )
