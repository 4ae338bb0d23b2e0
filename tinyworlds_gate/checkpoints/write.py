"""Writes a checkpoint so that it is there whole or not at all (S4).

Files go to a temporary folder beside the final one, each flushed and fsynced, ``manifest.json`` last; one rename makes
the checkpoint visible and an fsync of the parent makes that last. A valid checkpoint is never overwritten.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.checkpoints.integrity import MANIFEST_SCHEMA, WRITTEN_BY, parameter_count, verify_checkpoint
from tinyworlds_gate.checkpoints.layout import (
    MANIFEST_FILE,
    MODEL_FILE,
    OPTIM_FILE,
    STATE_FILE,
    CheckpointRef,
    folder_name,
)
from tinyworlds_gate.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_SCALARS = (type(None), bool, int, float, str, bytes)


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

    Raises:
        CheckpointError: nothing to save, data that is not plain, a valid checkpoint of that step, or a file system that
            refuses (full disk): earlier checkpoints stay as they are and no temporary folder is left.
    """
    final = parent / folder_name(stage, step)
    if not model_state:
        raise CheckpointError(f"{final} was not written: the model's state is empty (only rank 0 holds it; save there)")
    if state.get("step", step) != step:
        raise CheckpointError(f"{final} was not written: state says step {state['step']!r}, the folder's name {step}")
    contents = {
        MODEL_FILE: _plain_tensors(model_state, "model_state"),
        OPTIM_FILE: _plain_tensors(optim_state, "optim_state"),
        STATE_FILE: _plain_tensors({**state, "step": step, "written_by": WRITTEN_BY}, "state"),
    }
    record = _new_manifest(stage, step, contents, manifest or {})
    try:
        _make_parent(parent)
        _move_aside_unless_valid(final)
        return _write_and_rename(final, stage, step, contents, record)
    except OSError as error:
        raise CheckpointError(
            f"{final} was not written: {error.strerror or error}. Earlier checkpoints are untouched; free space or "
            "choose another results folder, then resume"
        ) from error


def _write_and_rename(
    final: Path, stage: str, step: int, contents: Mapping[str, Any], record: dict[str, Any]
) -> CheckpointRef:
    temporary = final.with_name(f".{final.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    temporary.mkdir()
    try:
        for name, content in contents.items():
            record["files"][name] = _write_tensors(temporary / name, content)
        _write_synced(temporary / MANIFEST_FILE, json.dumps(record, indent=2, sort_keys=True).encode() + b"\n")
        _sync_folder(temporary)
        temporary.rename(final)  # fails when a folder with files stands there: nothing is overwritten
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync_folder(final.parent)
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


def _write_tensors(file: Path, content: Any) -> dict[str, Any]:
    """Serialised in memory first: a failing disk is then an OSError here, not a fault in torch's zip writer."""
    import torch

    buffer = io.BytesIO()
    torch.save(content, buffer)
    data = buffer.getbuffer()
    _write_synced(file, data)
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": data.nbytes}


def _write_synced(file: Path, data: bytes | memoryview) -> None:
    with file.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_parent(parent: Path) -> None:
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _sync_folder(folder.parent)


def _move_aside_unless_valid(final: Path) -> None:
    """An invalid or unfinished folder under the final name is renamed and kept; a valid one is an error."""
    if not (final.exists() or final.is_symlink()):
        return
    try:
        kept = verify_checkpoint(final)
    except CheckpointError:
        number = 1
        while (aside := final.with_name(f".rejected-{final.name}-{number}")).exists():
            number += 1
        final.rename(aside)
        return
    raise CheckpointError(
        f"{final} exists and is valid (SHA-256 of its weights {kept.model_sha256[:12]}…); a checkpoint is never "
        "overwritten. Resume from it, or give another run folder"
    )


def _plain_tensors(value: Any, where: str) -> Any:
    """``value`` with tensors on the CPU and mappings as dictionaries; anything else than plain data is refused."""
    import torch

    if type(value) in _SCALARS:
        return value
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        return tensor if whole else tensor.clone()
    if isinstance(value, Mapping):
        return {_plain_key(key, where): _plain_tensors(item, f"{where}[{key!r}]") for key, item in value.items()}
    if type(value) in (list, tuple, torch.Size):
        items = [_plain_tensors(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    raise CheckpointError(
        f"{where} is a {type(value).__module__}.{type(value).__qualname__}; a checkpoint holds numbers, text, lists, "
        "mappings and tensors only, so that it loads without running code. Convert it (.item(), str(), from_numpy)"
    )


def _plain_key(key: Any, where: str) -> Any:
    if type(key) not in _SCALARS:
        raise CheckpointError(f"{where} has a key of type {type(key).__qualname__}; allowed: text and numbers")
    return key
