"""Real checkpoints for tests: those of a TinyWorlds fork, and ours with the same weights."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.checkpoints.read import read_model_state, read_state
from tinyworlds_gate.checkpoints.write import write_checkpoint

FOREIGN_RUN = Path(__file__).parent.parent / "data" / "foreign_run" / "tinyworlds_fork"
FOREIGN_STEPS = {"video_tokenizer": 1099, "latent_actions": 299, "dynamics": 899}


def foreign_folder(stage: str) -> Path:
    """The committed checkpoint of a stage (model and state; the optimizer is left out for its size)."""
    return FOREIGN_RUN / stage / "checkpoints" / f"{stage}_step_{FOREIGN_STEPS[stage]}"


def copy_foreign(parent: Path, stage: str, step: int | None = None, *, optimizer: bool = True) -> Path:
    """Copy a stage's foreign checkpoint to a writable folder, by default with a real optimizer state."""
    folder = parent / f"{stage}_step_{FOREIGN_STEPS[stage] if step is None else step}"
    shutil.copytree(foreign_folder(stage), folder)
    if optimizer:
        import torch

        torch.save(optimizer_state(), folder / "optim_state_dict.pt")
    return folder


def optimizer_state() -> dict[str, Any]:
    """Return the state of an AdamW after one real step."""
    import torch

    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=1e-3)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def write_ours(
    parent: Path, stage: str, step: int, *, manifest: dict[str, Any] | None = None, **config: Any
) -> CheckpointRef:
    """Write a checkpoint of ours with the foreign run's weights of ``stage``; ``config`` overrides its config."""
    foreign = read_state(foreign_folder(stage))
    return write_checkpoint(
        parent,
        stage,
        step,
        model_state=read_model_state(foreign_folder(stage)),
        optim_state=optimizer_state(),
        state={
            "scheduler_state_dict": foreign["scheduler_state_dict"],
            "config": foreign["config"] | config,
            "timestamp": "2026_01_02_03_04_05",
        },
        manifest=manifest,
    )


def rewrite_pickle(file: Path, edit: Callable[[bytes], bytes]) -> None:
    """Replace the pickle in a torch zip file by ``edit(pickle)``; keep every other record."""
    with zipfile.ZipFile(file) as archive:
        records = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in records:
            archive.writestr(name, edit(data) if name.endswith("data.pkl") else data)


def flip_byte(file: Path, offset: int) -> None:
    """Invert one byte of a file in place."""
    data = bytearray(file.read_bytes())
    data[offset] ^= 0xFF
    file.write_bytes(data)


def names_in(folder: Path) -> list[str]:
    """Return the sorted names in a folder, with hidden ones."""
    return sorted(entry.name for entry in folder.iterdir())
