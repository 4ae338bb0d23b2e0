"""Which paths of a TinyWorlds project are training and inference, and which config keys are its sizes (L4)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

WATCHED_KEYS = frozenset(
    (
        *("embed_dim", "num_heads", "hidden_dim", "num_blocks"),
        *("patch_size", "context_length", "frame_size", "latent_dim", "num_bins", "n_actions"),
    )
)
"""The shared backbone (C2) and the shared sizes (C1)."""

RELEVANT_PATHS = re.compile(
    r"configs/(training|video_tokenizer|latent_actions|dynamics|inference|training_config|vqvae|lam)\.yaml"
    r"|configs/dev/dev_(training|training_config|pipeline)\.yaml"
    r"|scripts/(train_video_tokenizer|train_latent_actions|train_dynamics|run_inference|full_train)\.py"
    r"|run_inference\.py|run_inference_teacher_forced\.py|train_full_pipeline\.py"
    r"|src/(vqvae|latent_action_model|dynamics)/(main|train_[^/]*)\.py"
    r"|tests/test_inference[^/]*\.py"
)
"""Of the modes `strict` and `wide`: every place where training and inference have stood."""
CURRENT_PATHS = re.compile(
    r"configs/(training|video_tokenizer|latent_actions|dynamics|inference)\.yaml"
    r"|scripts/(train_video_tokenizer|train_latent_actions|train_dynamics|run_inference)\.py"
    r"|utils/(inference_utils|config)\.py"
)
"""Of the mode `current_paths`: where they stand today."""
PATHS_OF_MODE = {"strict": RELEVANT_PATHS, "wide": RELEVANT_PATHS, "current_paths": CURRENT_PATHS}
MODES = tuple(PATHS_OF_MODE)


FOLDERS = (".", "configs", "configs/dev", "scripts", "src/*", "tests", "utils")
"""Where the files of both lists can be."""


def has_relevant_file(project: Path) -> bool:
    """Whether the folder holds a file on a path of either list, tracked by git or not."""
    files = (path.relative_to(project).as_posix() for folder in FOLDERS for path in project.glob(f"{folder}/*"))
    return any(pattern.fullmatch(name) for name in files for pattern in (RELEVANT_PATHS, CURRENT_PATHS))


def is_relevant(names: Iterable[str | None], mode: str, folder: str) -> bool:
    """Whether one of a file's names (its old one too, after a rename) is relevant.

    Args:
        folder: where the project lies in its repository, `game/`; empty at its root.
    """
    inside = (name.removeprefix(folder) for name in names if name is not None and name.startswith(folder))
    return any(PATHS_OF_MODE[mode].fullmatch(name) is not None for name in inside)
