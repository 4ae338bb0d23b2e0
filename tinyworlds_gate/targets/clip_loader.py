"""Check, before anything starts, that a checkout's loader finds clips in its frames (hazards 13 and 14).

What its loader does is read from its ``datasets/`` package: the dataset names that it knows, the frames that it skips
at the start of a file, the size that it gives them, and whether it drops an incomplete batch.
"""

from __future__ import annotations

import ast
import math
import re
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
RESIZING = re.compile(r"resize|interpolate", re.IGNORECASE)
"""Names of functions that change a frame's size."""
DIVERGING_RATE = 0.01
"""A learning rate of dynamics that is known to diverge with AdamW (hazard 7)."""


@dataclass(frozen=True)
class ClipLoader:
    """What the source of ``datasets/`` shows; empty where it shows nothing."""

    names: tuple[str, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    """Dataset class in lower case, without ``Dataset`` → frames that it skips at the start of the file."""
    drops_last: bool = False
    resizes: bool = False
    """A frame may get another size after it was read from the file."""
    resolutions: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Dataset class, as above → the default of its ``resolution``."""

    def skips(self, dataset: str) -> int:
        """Return the frames at the start of the file that are not read."""
        return self.skipped.get(_class(dataset), 0)

    def resized_to(self, dataset: str) -> tuple[int, int] | None:
        """Return the size that the loader gives every frame; None if that is not known, or it gives none."""
        return self.resolutions.get(_class(dataset)) if self.resizes else None


def read_clip_loader(root: Path) -> ClipLoader:
    """Return what the checkout's ``datasets/`` package shows; files that Python cannot parse are left out."""
    names, skipped, drops = list[str](), dict[str, int](), False
    resolutions, kept = dict[str, tuple[int, int]](), set[ast.AST]()
    resizing: list[ast.AST] = []
    for node in _nodes(root / "datasets"):
        match node:
            case ast.Compare(left=ast.Name(id="dataset"), ops=[ast.Eq()], comparators=[ast.Constant(value=str(name))]):
                names.append(name)
            case ast.keyword(arg="drop_last", value=ast.Constant(value=True)):
                drops = True
            case ast.FunctionDef(name=name) if "preprocess" in name:
                kept |= set(ast.walk(node))  # makes the frames file from a video
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if RESIZING.search(name):
                resizing.append(node)
            case ast.ClassDef(name=name) if name.endswith("Dataset"):
                own = name.removesuffix("Dataset").lower()
                for part in ast.walk(node):
                    match part:
                        case ast.keyword(arg="load_start_index", value=ast.Constant(value=int(first))):
                            skipped[own] = first
                        case ast.FunctionDef(name="__init__", args=arguments):
                            if (size := _resolution(arguments)) is not None:
                                resolutions[own] = size
    resizes = any(node not in kept for node in resizing)
    return ClipLoader(tuple(dict.fromkeys(names)), skipped, drops, resizes, resolutions)


def require_frame_size(settings: Settings, target: Target, found: tuple[int, int], file: str) -> None:
    """Check that the frames reach the models at ``frame_size``; ``found`` is the height and width in the file.

    Raises:
        ConfigError: they do not, with the setting that mends it.
    """
    loader, dataset, size = read_clip_loader(target.root), settings.training.dataset, settings.training.frame_size
    given = loader.resized_to(dataset)
    if given is None and loader.resizes:
        return
    height, width = given or found
    if (height, width) == (size, size):
        return
    why = f"its loader resizes every frame of {dataset} to that" if given else "its loader does not resize them"
    mend = f"Set frame_size to {height} in {target.training_config}" if height == width else "Use square frames"
    other = "" if given else f", or use a frames file of {size} × {size} pixels"
    raise ConfigError(
        f"frame_size is {size} ({settings.provenance['training.frame_size']}), but the models would get frames of "
        f"{height} × {width} pixels from {file}: {why}. {mend}{other}."
    )


def require_clips(settings: Settings, target: Target, frames: int) -> None:
    """Check that the loader knows the dataset and that each stage finds a batch of clips in ``frames`` frames.

    Raises:
        ConfigError: it does not, with the setting that mends it.
    """
    loader, dataset = read_clip_loader(target.root), settings.training.dataset
    if loader.names and dataset not in loader.names:
        raise ConfigError(
            f"dataset: {dataset} is none that this checkout loads ({', '.join(loader.names)}). Put the frames where "
            f"one of these looks for them ({target.layout.frames}), and name that one with --dataset."
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
    skipped, read, share = loader.skips(training.dataset), int(frames * ratio), train_share(target, stage)
    clips = max(0, int((read - skipped) * share) - clip)
    needed = batch * training.nproc_per_node if loader.drops_last else 1
    if clips >= needed:
        return None
    what = f"preload_ratio {ratio:g} × {frames} frames = {read}"
    what += f", of which the loader skips the first {skipped}" if skipped else ""
    what += f", of which train_ratio {share:g} is trained on (enable_eval_loss is true)" if share < 1 else ""
    stride = clip // training.context_length
    room = f"{clips} clips of {clip} frames ({training.context_length} at a stride of {stride})"
    wanted = skipped + math.ceil((clip + needed) / share)
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
    return _share(_setting(target, stage, "preload_ratio"))


def train_share(target: Target, stage: str) -> float:
    """Return the part of the read frames that a stage trains on: all, unless it holds some back for a held-out loss."""
    if _setting(target, stage, "enable_eval_loss") is not True:
        return 1.0
    return _share(_setting(target, stage, "train_ratio")) or 1.0


def _class(dataset: str) -> str:
    return dataset.replace("_", "").lower()


def _resolution(arguments: ast.arguments) -> tuple[int, int] | None:
    """Return the default of the argument ``resolution``, which is (width, height), as height and width."""
    with_default = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    for argument, default in zip(with_default, arguments.defaults, strict=True):
        match argument.arg, default:
            case "resolution", ast.Tuple(elts=[ast.Constant(value=int(width)), ast.Constant(value=int(height))]):
                return height, width
    return None


def _share(value: Any) -> float:
    return 1.0 if value is None else min(1.0, max(0.0, float(value)))


def _setting(target: Target, stage: str, key: str) -> Any:
    places: tuple[dict[str, Any], ...] = (
        dict(target.arguments.training),
        read_mapping(target.training_config),
        read_mapping(target.stage_config(stage)),
    )
    return next((one[key] for one in places if one.get(key) is not None), None)


def _nodes(folder: Path) -> Iterator[ast.AST]:
    for path in sorted(folder.rglob("*.py")):
        try:
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8", errors="replace")))
        except SyntaxError:
            continue
