"""Defects in weights and checkpoint folders; each leaves checkpoints that are valid by themselves."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinyworlds_gate.power.scene import healthy

if TYPE_CHECKING:
    from torch import Tensor

    from tinyworlds_gate.checkpoints.layout import CheckpointRef

LINEAGE = {"video_tokenizer": "tokenizer_sha256", "latent_actions": "latent_actions_sha256"}
"""Stage → the key of its digest in the manifest of dynamics."""
OPTIMIZER = {"state": {}, "param_groups": [{"lr": 0.0, "params": [0]}]}
Change = Callable[[dict[str, "Tensor"]], Mapping[str, "Tensor"]]


def rewritten(root: Path, stage: str, change: Change, **entries: Any) -> CheckpointRef:
    """Replace the weights of the run's checkpoint and write a matching manifest."""
    from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
    from tinyworlds_gate.checkpoints.read import read_model_state, read_state
    from tinyworlds_gate.checkpoints.write import write_checkpoint

    old = healthy(root, stage)
    state, weights = read_state(old), {name: one.clone() for name, one in read_model_state(old, mmap=False).items()}
    manifest = verify_checkpoint(old, require_optimizer=False).manifest or {}
    kept = {key: manifest[key] for key in (*LINEAGE.values(), "data_sha256", "run") if key in manifest}
    shutil.rmtree(old)
    plain = {key: value for key, value in state.items() if key != "written_by"}
    return write_checkpoint(
        old.parent,
        stage,
        int(state["step"]),
        model_state=dict(change(weights)),
        optim_state=OPTIMIZER,
        state=plain,
        manifest=kept | entries,
    )


def changed(stage: str, change: Change) -> Callable[[Path], None]:
    """Return a function that changes a model's weights and makes dynamics claim that it was trained on them.

    C4 then passes.
    """

    def project(root: Path) -> None:
        digest = rewritten(root, stage, change).model_sha256
        if stage in LINEAGE:
            rewritten(root, "dynamics", lambda weights: weights, **{LINEAGE[stage]: digest})

    return project


def swapped(stage: str, source: str) -> Callable[[Path], None]:
    """Return a function that replaces the run's checkpoint by a valid one of another run or an earlier step."""

    def project(root: Path) -> None:
        target = healthy(root, stage)
        shutil.rmtree(target)
        (found,) = (root / f"{source}_{stage}").glob(f"{stage}_step_*")
        shutil.copytree(found, target.parent / found.name)

    return project


def initialised(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return new random weights with the same standard deviation; integer buffers stay."""
    import torch

    generator = torch.Generator().manual_seed(7)
    return {
        name: one + 0 if not one.is_floating_point() or one.ndim < 2 else _drawn_like(one, generator)
        for name, one in weights.items()
    }


def _drawn_like(one: Tensor, generator: Any) -> Tensor:
    import torch

    return torch.randn(one.shape, generator=generator) * one.std()


def scaled(part: str, factor: float) -> Change:
    """Multiply the parameters whose name contains ``part``.

    Raises:
        KeyError: no parameter has that name, so the defect would change nothing.
    """

    def change(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        if not any(part in name for name in weights):
            raise KeyError(f"no parameter is named {part!r}; the parameters are {', '.join(sorted(weights))}")
        return {
            name: one * factor if part in name and one.is_floating_point() else one for name, one in weights.items()
        }

    return change


def noisy(spread: float) -> Change:
    """Add noise with this share of each parameter's standard deviation."""

    def change(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        import torch

        generator = torch.Generator().manual_seed(3)
        return {
            name: one + spread * _drawn_like(one, generator) if one.is_floating_point() and one.numel() > 1 else one
            for name, one in weights.items()
        }

    return change
