"""Write a checkpoint atomically (S4).

Files go to a temporary folder beside the final one, each fsynced, ``manifest.json`` last. One rename makes the
checkpoint visible, and an fsync of the parent folder makes the rename durable. A valid checkpoint is never overwritten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from tinyworlds_gate.checkpoints.durable import SyncedFile, require_room
from tinyworlds_gate.checkpoints.integrity import MANIFEST_SCHEMA, WRITTEN_BY, parameter_count, verify_checkpoint
from tinyworlds_gate.checkpoints.layout import (
    MANIFEST_FILE,
    MODEL_FILE,
    OPTIM_FILE,
    STATE_FILE,
    CheckpointRef,
    folder_name,
)
from tinyworlds_gate.checkpoints.plain import on_cpu, require_plain, tensor_bytes
from tinyworlds_gate.checkpoints.unfinished import remove_leftovers
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.run.atomic import make_synced_folder, sync, write_synced
from tinyworlds_gate.run.paths import set_aside
from tinyworlds_gate.run.unfinished import UnfinishedFolder

if TYPE_CHECKING:
    from torch import Tensor


def write_checkpoint(
    parent: Path,
    stage: str,
    step: int,
    *,
    model_state: Mapping[str, Tensor],
    optim_state: Mapping[str, Any],
    state: Mapping[str, Any],
    manifest: Mapping[str, Any] | None = None,
) -> CheckpointRef:
    """Write ``<parent>/<stage>_step_<step>/`` and return what was written.

    Args:
        parent: the stage's ``checkpoints/`` folder; it is made when absent.
        step: the 0-based update that was made last.
        model_state: parameter name → tensor; GPU tensors are stored as CPU tensors.
        optim_state: the optimizer's ``state_dict()``.
        state: scheduler_state_dict, config, timestamp, random number generators, …: plain data and tensors only, so
            that ``weights_only=True`` reads it. ``step`` is set here.
        manifest: more entries for ``manifest.json`` (JSON values), for example ``tokenizer_sha256`` (C4).

    Leftovers of dead writers of this stage in ``parent`` are removed first. Tensors are copied to the CPU one file at a
    time.

    Raises:
        CheckpointError: nothing to save, data that is not plain, a valid checkpoint of that step, a disk with less room
            than the tensors take, or a file system that refuses: earlier checkpoints stay as they are and no temporary
            folder is left.
    """
    final = parent / folder_name(stage, step)
    if not model_state:
        raise CheckpointError(f"{final} was not written: the model's state is empty (only rank 0 holds it; save there)")
    if state.get("step", step) != step:
        raise CheckpointError(f"{final} was not written: state says step {state['step']!r}, the folder's name {step}")
    contents = {
        MODEL_FILE: model_state,
        OPTIM_FILE: optim_state,
        STATE_FILE: {**state, "step": step, "written_by": WRITTEN_BY},
    }
    for content, name in zip(contents.values(), ("model_state", "optim_state", "state"), strict=True):
        require_plain(content, name)
    record = _new_manifest(stage, step, contents, manifest or {})
    try:
        make_synced_folder(parent)
        remove_leftovers(parent, stage)
        _move_aside_unless_valid(final)
        require_room(parent, tensor_bytes(list(contents.values())))
        return _write_and_rename(final, stage, step, contents, record)
    except OSError as error:
        raise CheckpointError(
            f"{final} was not written: {error.strerror or error}. Earlier checkpoints are untouched; free space or "
            "choose another results folder, then resume"
        ) from error


def _write_and_rename(
    final: Path, stage: str, step: int, contents: Mapping[str, Any], record: dict[str, Any]
) -> CheckpointRef:
    with UnfinishedFolder(final) as temporary:
        for name, content in contents.items():
            record["files"][name] = write_tensors(temporary / name, content)
        write_synced(temporary / MANIFEST_FILE, json.dumps(record, indent=2, sort_keys=True).encode() + b"\n")
        sync(temporary)
        temporary.rename(final)  # fails when a folder with files exists there: nothing is overwritten
        sync(final.parent)
    return CheckpointRef(stage, step, final, record["files"][MODEL_FILE]["sha256"], record["parameters"], record)


def _new_manifest(stage: str, step: int, contents: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    config = contents[STATE_FILE].get("config")
    record: dict[str, Any] = {
        "schema": MANIFEST_SCHEMA,
        "stage": stage,
        "step": step,
        "parameters": parameter_count(contents[MODEL_FILE]),
        "tensors": len(contents[MODEL_FILE]),
        "torch_version": str(torch.__version__),
        "files": {},
    }
    try:
        record["config_sha256"] = None if config is None else config_sha256(config)
        json.dumps(dict(extra))
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{stage} step {step} was not written: its config and manifest entries must be JSON values ({error})"
        ) from error
    taken = sorted(record.keys() & extra.keys())
    if taken:
        raise CheckpointError(
            f"{stage} step {step} was not written: manifest entries {taken} are set by the writer itself"
        )
    return record | dict(extra)


def config_sha256(config: Any) -> str:
    """SHA-256 of a configuration's JSON form with sorted keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_tensors(path: Path, content: Any) -> dict[str, Any]:
    """Write one file of a checkpoint to disk and return its SHA-256 and size."""
    import torch

    with SyncedFile(path) as file:
        torch.save(on_cpu(content), cast(IO[bytes], file))  # it calls write and flush only
    return {"sha256": file.sha256, "size": file.size}


def _move_aside_unless_valid(final: Path) -> None:
    """Rename an invalid folder that has the final name; raise for a valid one."""
    if not (final.exists() or final.is_symlink()):
        return
    try:
        kept = verify_checkpoint(final)
    except CheckpointError:
        set_aside(final, "rejected")
        return
    raise CheckpointError(
        f"{final} exists and is valid (SHA-256 of its weights {kept.model_sha256[:12]}…); a checkpoint is never "
        "overwritten. Resume from it, or give another run folder"
    )
