"""Weights published as single files (``sonic_video_tokenizer_step_27500_2025_….pth``): read safely, written as folders.

Such a file is a mapping with ``model``, ``optimizer_state_dict``, ``scheduler_state_dict``, ``config`` and ``step``. No
pickled code runs. The folder has TinyWorlds' layout, without a manifest, since no run of this harness trained it.
"""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.integrity import stage_of_names, verify_checkpoint
from tinyworlds_gate.checkpoints.layout import MODEL_FILE, OPTIM_FILE, STATE_FILE, CheckpointRef, folder_name
from tinyworlds_gate.checkpoints.read import without_wrappers
from tinyworlds_gate.checkpoints.unpickle import load_plain
from tinyworlds_gate.checkpoints.write import write_tensors
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.run.atomic import sync
from tinyworlds_gate.run.unfinished import UnfinishedFolder

CONVERTED = "converted_checkpoints"
"""Folder beside a single file that holds its checkpoint folder."""

LARGEST_STEP = 10**18
"""Names of folders have up to 18 digits."""

_ALIASES = {
    "video_tokenizer": "video_tokenizer",
    "latent_actions": "latent_actions",
    "action_tokenizer": "latent_actions",
    "actions": "latent_actions",
    "lam": "latent_actions",
    "dynamics": "dynamics",
}
_FILE = re.compile(rf"(?:.*[_/])?(?P<stage>{'|'.join(_ALIASES)})(?:_step_(?P<step>\d{{1,18}})|_checkpoint).*\.pth?")


@dataclass(frozen=True)
class Published:
    """The content of a single file."""

    stage: str
    step: int
    model: Mapping[str, Any]
    optimizer: Mapping[str, Any] | None
    state: Mapping[str, Any]


def is_published(path: Path) -> bool:
    """Whether the path is a single file of weights: a `.pth` file, or a `.pt` file with such a name."""
    return os.path.isfile(path) and (path.suffix == ".pth" or published_name(path.name) is not None)


def published_name(name: str) -> tuple[str, int | None] | None:
    """(stage, step) of a single file's name; the step is None where the name has none."""
    match = _FILE.fullmatch(name)
    if match is None:
        return None
    return _ALIASES[match["stage"]], None if match["step"] is None else int(match["step"])


def published_files(folder: Path, stage: str) -> list[Path]:
    """The single files of a stage in a folder, by their names, oldest step first."""
    named = [(published_name(path.name), path) for path in folder.iterdir() if path.is_file()]
    return [path for _, path in sorted((name[1] or 0, path) for name, path in named if name and name[0] == stage)]


def read_published(file: Path) -> Published:
    """Read a single file without running pickled code.

    Raises:
        CheckpointError: it is missing or damaged, its pickle names something to call, or it holds no model of a stage.
    """
    import torch

    content = load_plain(file)
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not model:
        keys = type(content).__name__
        if isinstance(content, dict):
            keys = ", ".join(key[:80] if isinstance(key, str) else reprlib.repr(key) for key in islice(content, 8))
        raise CheckpointError(f"{file} holds no `model` with named tensors (found: {keys}); give the weights' own file")
    for name, tensor in model.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise CheckpointError(
                f"{file}: entry {reprlib.repr(name)} of `model` is a {type(tensor).__name__}, not a named tensor"
            )
    model = without_wrappers(model)
    stage = stage_of_names(model)
    if stage is None:
        raise CheckpointError(f"{file}: its tensors are those of no TinyWorlds model; allowed: {', '.join(STAGES)}")
    named = published_name(file.name)
    step = content.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step < LARGEST_STEP:
        step = (named[1] if named is not None else None) or 0
    optimizer = content.get("optimizer_state_dict")
    state = {key: content.get(key) for key in ("scheduler_state_dict", "config", "timestamp")}
    return Published(stage, step, model, optimizer if isinstance(optimizer, dict) else None, {**state, "step": step})


def convert_published(file: Path, parent: Path) -> CheckpointRef:
    """Write a single file as ``<parent>/<stage>_step_<n>`` and return its reference; a valid folder there is reused.

    Raises:
        CheckpointError: the file cannot be read, or the folder cannot be written.
    """
    published = read_published(file)
    final = parent / folder_name(published.stage, published.step)
    if final.is_dir():
        return verify_checkpoint(final, require_optimizer=False)
    contents: dict[str, Any] = {MODEL_FILE: dict(published.model), STATE_FILE: dict(published.state)}
    if published.optimizer is not None:
        contents[OPTIM_FILE] = dict(published.optimizer)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with UnfinishedFolder(final) as temporary:
            for name, content in contents.items():
                write_tensors(temporary / name, content)
            sync(temporary)
            temporary.rename(final)
            sync(parent)
    except OSError as error:
        raise CheckpointError(
            f"{final} was not written: {error.strerror or error}. Convert {file} into another folder with "
            "`tinyworlds-gate convert FILE --to FOLDER`, and give that one"
        ) from error
    return verify_checkpoint(final, require_optimizer=False)
