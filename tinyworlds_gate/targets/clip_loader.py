"""Check, before anything starts, that a checkout's loader finds clips in its frames (tinyworlds.md, hazards 13 and 14).

What its loader does is read from its ``datasets/`` package: the dataset names that it knows, the frames that it skips
at the start of a file, and whether it drops an incomplete batch.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.config.yaml_io import read_mapping
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.targets.base import Target

SOURCE_FPS = 60
"""Frames a second of an upstream file; it is read at a stride of 60 // fps."""
DIVERGING_RATE = 0.01
"""A learning rate of dynamics that is known to diverge with AdamW (hazard 7)."""


@dataclass(frozen=True)
class ClipLoader:
    """What the source of ``datasets/`` shows; empty where it shows nothing."""

    names: tuple[str, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    """Dataset class in lower case, without ``Dataset`` → frames that it skips at the start of the file."""
    drops_last: bool = False

    def skips(self, dataset: str) -> int:
        """Return the frames at the start of the file that are not read."""
        return self.skipped.get(dataset.replace("_", "").lower(), 0)


def read_clip_loader(root: Path) -> ClipLoader:
    """Return what the checkout's ``datasets/`` package shows; files that Python cannot parse are left out."""
    names, skipped, drops = list[str](), dict[str, int](), False
    for node in _nodes(root / "datasets"):
        match node:
            case ast.Compare(left=ast.Name(id="dataset"), ops=[ast.Eq()], comparators=[ast.Constant(value=str(name))]):
                names.append(name)
            case ast.keyword(arg="drop_last", value=ast.Constant(value=True)):
                drops = True
            case ast.ClassDef(name=name) if name.endswith("Dataset"):
                for part in ast.walk(node):
                    match part:
                        case ast.keyword(arg="load_start_index", value=ast.Constant(value=int(first))):
                            skipped[name.removesuffix("Dataset").lower()] = first
    return ClipLoader(tuple(dict.fromkeys(names)), skipped, drops)


def require_clips(settings: Settings, target: Target, frames: int) -> None:
    """Check that the loader knows the dataset and that each stage finds a batch of clips in ``frames`` frames.

    Raises:
        ConfigError: it does not, with the setting that mends it.
    """
    loader, dataset = read_clip_loader(target.root), settings.training.dataset
    if loader.names and dataset not in loader.names:
        raise ConfigError(
            f"dataset: {dataset} is none that this checkout loads ({', '.join(loader.names)}). Put the frames where "
            f"one of these looks for them ({target.layout.frames}), and set `dataset` in {target.training_config}."
        )
    found = [_problem(settings, target, loader, stage, frames) for stage in settings.trained_stages]
    if problems := [problem for problem in found if problem is not None]:
        raise ConfigError(" ".join(problems))


def rate_warnings(settings: Settings) -> list[str]:
    """Return a sentence for a learning rate that is known to diverge."""
    rate = settings.stages["dynamics"].learning_rate
    if "dynamics" not in settings.trained_stages or rate < DIVERGING_RATE:
        return []
    source = settings.source_of("dynamics", "learning_rate")
    return [
        f"dynamics trains at learning rate {rate:g} ({source}); with AdamW {DIVERGING_RATE:g} is known to diverge "
        "(loss 1.8 to 7.4 over 54000 updates). --dynamics-init-learning-rate 5e-4 sets a lower one"
    ]


def _problem(settings: Settings, target: Target, loader: ClipLoader, stage: str, frames: int) -> str | None:
    training, batch = settings.training, settings.stages[stage].batch_size_per_gpu
    ratio = preload_ratio(target, stage)
    clip = training.context_length * max(1, SOURCE_FPS // training.fps)
    skipped, read = loader.skips(training.dataset), int(frames * ratio)
    clips = max(0, read - skipped - clip)
    needed = batch * training.nproc_per_node if loader.drops_last else 1
    if clips >= needed:
        return None
    what = f"preload_ratio {ratio:g} × {frames} frames = {read}"
    what += f", of which the loader skips the first {skipped}" if skipped else ""
    stride = clip // training.context_length
    room = f"{clips} clips of {clip} frames ({training.context_length} at a stride of {stride})"
    wanted = skipped + clip + needed
    workers = f" on {training.nproc_per_node} workers" if training.nproc_per_node > 1 else ""
    batches = f"a batch of {batch}{workers} needs {needed}" if loader.drops_last else "one is needed"
    fix = (
        f"Set preload_ratio to at least {math.ceil(1000 * wanted / frames) / 1000:g} in {target.training_config}"
        if wanted <= frames
        else f"Use a frames file of at least {wanted} frames"
    )
    smaller = f", or a smaller batch (--{stage.split('_')[0]}-init-batch-size)" if clips and batch > 1 else ""
    return f"{stage}: {what}: {room}, but {batches}. {fix}{smaller}."


def preload_ratio(target: Target, stage: str) -> float:
    """Return the part of the frames that a stage reads: of ``--target-file``, ``training.yaml`` or its own file."""
    places: tuple[dict[str, Any], ...] = (
        dict(target.arguments.training),
        read_mapping(target.training_config),
        read_mapping(target.stage_config(stage)),
    )
    found = next((one["preload_ratio"] for one in places if one.get("preload_ratio") is not None), 1.0)
    return min(1.0, max(0.0, float(found)))


def _nodes(folder: Path) -> Iterator[ast.AST]:
    for path in sorted(folder.rglob("*.py")):
        try:
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8", errors="replace")))
        except SyntaxError:
            continue
