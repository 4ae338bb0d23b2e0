"""Verify a checkpoint (S4): by its manifest's hashes, and by loading its tensors.

A checkpoint of ours carries ``manifest.json`` with the size and SHA-256 of each file; TinyWorlds writes none, so its
files are checked by loading them. In both cases the weights must be there, finite and of the stage that the folder
names.
"""

from __future__ import annotations

import hashlib
import os
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.checkpoints.archive import open_archive
from tinyworlds_gate.checkpoints.layout import (
    MANIFEST_FILE,
    MODEL_FILE,
    OPTIM_FILE,
    STATE_FILE,
    CheckpointRef,
    parse_folder_name,
)
from tinyworlds_gate.checkpoints.read import read_model_state, read_optim_state, read_state
from tinyworlds_gate.errors import CheckpointError, DivergedWeightsError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.plain_json import parse_json
from tinyworlds_gate.run.regular_file import MISSING, open_regular, regular_file_problem

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST_SCHEMA = 1
MOST_MANIFEST_BYTES = 4 * 2**20
WRITTEN_BY = "tinyworlds_gate"

# A tensor that only one stage's model has.
_STAGE_MARKS = {
    "video_tokenizer": "encoder.latent_head.1.weight",
    "latent_actions": "encoder.action_head.3.weight",
    "dynamics": "output_mlp.weight",
}


def verify_checkpoint(
    path: Path,
    *,
    expected_stage: str | None = None,
    expected_step: int | None = None,
    require_optimizer: bool = True,
) -> CheckpointRef:
    """Check everything in the checkpoint folder ``path`` and return its reference (S4).

    Args:
        path: a ``<stage>_step_<n>`` folder.
        expected_stage: the stage that it must be of, when the caller knows.
        expected_step: the 0-based update that it must be of, when the caller knows.
        require_optimizer: training resumes from it; inference needs the weights only.

    Raises:
        CheckpointError: a check failed; the message has the file and the reason.
    """
    parsed = parse_folder_name(path.name)
    if parsed is None:
        raise CheckpointError(
            f"{path} is no checkpoint folder; allowed: <stage>_step_<n> with a stage of {', '.join(STAGES)}"
        )
    stage, step = parsed
    if not os.path.isdir(path):
        raise CheckpointError(f"checkpoint {path} does not exist")
    if expected_stage is not None and stage != expected_stage:
        raise CheckpointError(f"{path} is a checkpoint of {stage}; a checkpoint of {expected_stage} is needed here")
    if expected_step is not None and step != expected_step:
        raise CheckpointError(f"{path} is of step {step}; step {expected_step} is needed here")
    for name in (MODEL_FILE, STATE_FILE, *([OPTIM_FILE] if require_optimizer else [])):
        problem = regular_file_problem(path / name)
        if problem is not None:
            found = f" ({path / name} {problem})" if problem != MISSING else ""
            raise CheckpointError(f"{path} has no {name}{found}; it is incomplete. Use another checkpoint")
    if os.path.lexists(path / MANIFEST_FILE):
        return _verify_with_manifest(path, stage, step, require_optimizer)
    return _verify_by_loading(path, stage, step, require_optimizer)


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; raises CheckpointError when it cannot be read."""
    try:
        with os.fdopen(open_regular(file), "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        why = f"cannot be read: {error.strerror}" if error.strerror else str(error)
        raise CheckpointError(f"{file} {why}; its SHA-256 cannot be computed") from error


def parameter_count(state: Mapping[str, Tensor]) -> int:
    """Elements of the floating-point tensors: parameters, without integer buffers such as ``quantizer.basis``."""
    return sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point())


def _verify_with_manifest(path: Path, stage: str, step: int, require_optimizer: bool) -> CheckpointRef:
    manifest = _read_manifest(path / MANIFEST_FILE)
    if (manifest["stage"], manifest["step"]) != (stage, step):
        raise CheckpointError(
            f"{path} is named {stage} step {step}, but its {MANIFEST_FILE} says {manifest['stage'][:80]} step "
            f"{manifest['step']}; the folder was renamed or swapped"
        )
    files = manifest["files"]
    for name in (MODEL_FILE, STATE_FILE, OPTIM_FILE):
        if name in files and (path / name).is_file():
            _check_file(path / name, files[name])
        elif name != OPTIM_FILE or require_optimizer:
            raise CheckpointError(f"{path}: {MANIFEST_FILE} does not list {name}; only listed files are trusted")
    parameters = _check_weights(path, stage)
    if parameters != manifest["parameters"]:
        raise CheckpointError(f"{path} has {parameters} parameters; {MANIFEST_FILE} says {manifest['parameters']}")
    _check_state_step(path, read_state(path), step)
    return CheckpointRef(stage, step, path, files[MODEL_FILE]["sha256"], parameters, manifest)


def _read_manifest(file: Path) -> dict[str, Any]:
    try:
        manifest = parse_json(_manifest_bytes(file).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}); nothing in this folder can be verified") from error
    shape = {"schema": int, "stage": str, "step": int, "parameters": int, "files": dict}
    for key, kind in shape.items():
        if not isinstance(manifest, dict) or not isinstance(manifest.get(key), kind):
            raise CheckpointError(f"{file} has no valid {key!r}; nothing in this folder can be verified")
    if manifest["schema"] != MANIFEST_SCHEMA:
        raise CheckpointError(f"{file} has schema {manifest['schema']}; this version reads schema {MANIFEST_SCHEMA}")
    return manifest


def _manifest_bytes(file: Path) -> bytes:
    with os.fdopen(open_regular(file), "rb") as stream:
        data = stream.read(MOST_MANIFEST_BYTES + 1)
    if len(data) > MOST_MANIFEST_BYTES:
        raise ValueError(f"it has more than {MOST_MANIFEST_BYTES} bytes")
    return data


def _check_file(file: Path, entry: Any) -> None:
    if not isinstance(entry, dict) or (type(entry.get("sha256")), type(entry.get("size"))) != (str, int):
        raise CheckpointError(f"{file.parent / MANIFEST_FILE} has no sha256 and size of {file.name}")
    size = file.stat().st_size
    if size != entry["size"]:
        raise CheckpointError(
            f"{file} has {size} bytes; {MANIFEST_FILE} says {entry['size']}: it is truncated or replaced"
        )
    if sha256_of(file) != entry["sha256"]:
        raise CheckpointError(f"{file} does not have the SHA-256 that {MANIFEST_FILE} records: its bytes were changed")


def _verify_by_loading(path: Path, stage: str, step: int, require_optimizer: bool) -> CheckpointRef:
    state = read_state(path)
    if state.get("written_by") == WRITTEN_BY:
        raise CheckpointError(
            f"{path} was written with a {MANIFEST_FILE}, which is gone; without it nothing is verified"
        )
    parameters = _check_weights(path, stage)
    _check_state_step(path, state, step)
    if require_optimizer:
        optimizer = read_optim_state(path, mmap=True)
        if not optimizer.get("state") or not optimizer.get("param_groups"):
            raise CheckpointError(f"{path / OPTIM_FILE} holds no optimizer state; training cannot continue from it")
    for name in (MODEL_FILE, STATE_FILE, *([OPTIM_FILE] if require_optimizer else [])):
        _check_archive(path / name)
    return CheckpointRef(stage, step, path, sha256_of(path / MODEL_FILE), parameters, None)


def _check_archive(file: Path) -> None:
    """Check the checksums inside the zip file, which are the only ones without a manifest."""
    with open_archive(file) as archive:
        damaged = archive.damaged()
    if damaged is not None:
        raise CheckpointError(f"{file} is damaged: the checksum of {damaged} does not hold")


def _check_weights(path: Path, stage: str) -> int:
    import torch

    weights = read_model_state(path)
    found = stage_of_names(weights)
    if found is not None and found != stage:
        raise CheckpointError(f"{path} is named {stage}, but its weights are those of {found}; the folder was swapped")
    for name, tensor in weights.items():
        try:
            count = int((~torch.isfinite(tensor)).sum()) if tensor.is_floating_point() else 0
        except (RuntimeError, TypeError) as error:  # a type or layout that has no arithmetic here
            raise CheckpointError(f"{path / MODEL_FILE}: {name} cannot be checked ({error})") from error
        if count:
            raise DivergedWeightsError(
                f"{path / MODEL_FILE}: {name} has {count} values that are not finite (NaN or infinite): training "
                "diverged. Use an earlier checkpoint and a lower learning rate"
            )
    parameters = parameter_count(weights)
    if parameters == 0:
        raise CheckpointError(f"{path / MODEL_FILE} holds {len(weights)} tensors and no parameter in them")
    return parameters


def stage_of_names(names: Iterable[str]) -> str | None:
    """The stage whose model has parameters of these names, or None when they are of no model that is known."""
    present = set(names)
    found = [stage for stage, mark in _STAGE_MARKS.items() if mark in present]
    return found[0] if len(found) == 1 else None


def _check_state_step(path: Path, state: Mapping[str, Any], step: int) -> None:
    recorded = state.get("step")
    if isinstance(recorded, bool) or not isinstance(recorded, int):
        raise CheckpointError(
            f"{path / STATE_FILE} records no step (found {reprlib.repr(recorded)}); the folder's name says {step}"
        )
    if recorded != step:
        raise CheckpointError(f"{path / STATE_FILE} is of step {recorded}, but the folder's name says {step}")
