"""The command `tinyworlds-gate limits --profile NAME`: an error limit that means something for a profile's game.

    tinyworlds-gate limits --profile longrun-pong --skill 0.35 --write

It measures the predictions that need no model on held-out clips of the profile's frames file, and derives `max_mse`
from the strongest one. Nothing is trained.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from tinyworlds_gate.config.cli_values import parse_positive_int
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import EVERYTHING
from tinyworlds_gate.run.atomic import atomic_write

DIGITS = 2
_LIMIT = re.compile(r"^(?P<key>  max_mse:) *[^\s#]+[^\n]*$", re.MULTILINE)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--profile", required=True, metavar="NAME", help="a profile's name or folder")
    parser.add_argument("--data", type=Path, metavar="F.h5", help="frames file (default: the profile's)")
    parser.add_argument(
        "--skill",
        type=_skill,
        default=0.0,
        metavar="S",
        help="the limit is (1 - S) times the error of the strongest prediction without a model (default: %(default)g)",
    )
    parser.add_argument("--clips", type=parse_positive_int, help="held-out clips (default: the profile's)")
    parser.add_argument("--project-root", type=Path, default=Path("."), help="the project (default: here)")
    parser.add_argument("--write", action="store_true", help="write max_mse into the project's profile.yaml")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Measure and print; with ``--write`` the profile gets the limit. Returns 0.

    Raises:
        GateError: profile or frames are missing or do not fit; exit status 2.
    """
    from tinyworlds_gate.config.load import resolve_settings

    root = args.project_root.resolve()
    settings = resolve_settings(args.profile, {}, project_root=root)
    if args.write:
        _require_own_profile(settings.profile_path, root)
    found = measured_limits(settings, root, data=args.data, clips=args.clips, skill=args.skill)
    if args.write:
        text = settings.profile_path.read_text(encoding="utf-8")
        atomic_write(settings.profile_path, with_limit(text, found["max_mse"], found["skill"]))
    print(json.dumps(found, indent=1) if args.json else limits_text(found))
    return 0


def measured_limits(settings: Any, root: Path, *, data: Path | None, clips: int | None, skill: float) -> dict[str, Any]:
    """Return the errors of all predictions without a model on held-out clips, and the limit, as plain data.

    Raises:
        DataError: the frames are missing or damaged, or have too few held-out clips.
    """
    from tinyworlds_gate.gate.measures.baselines import TrainingFrames, baselines
    from tinyworlds_gate.reference.data.clip_reader import read_clips, read_episodes
    from tinyworlds_gate.reference.data.datasets import dataset_path, dataset_stride
    from tinyworlds_gate.reference.data.split import clip_digest, held_out_clips, split_episodes

    training, inference, plan = settings.training, settings.inference, settings.profile.data
    named = data or (Path(training.data_path) if training.data_path else None)
    path = named or dataset_path(root, training.dataset, training.frame_size)
    stride = dataset_stride(path, training.dataset, training.fps)
    episode = read_episodes(path, stride=stride)
    split = split_episodes(episode, plan.held_out_fraction, plan.split_seed)
    context = inference.context_window or training.context_length - inference.prediction_horizon
    steps = inference.generation_steps * inference.prediction_horizon
    starts = held_out_clips(
        path,
        episode,
        split.held_out,
        length=context + steps,
        count=clips or inference.clips,
        seed=inference.clip_seed,
        draw=EVERYTHING,
    )
    read = read_clips(path, starts, context + steps, frame_size=training.frame_size, stride=stride)
    known = TrainingFrames(path, split.train, stride)
    table = baselines(read.frames[:, :context], read.frames[:, context:], read.episode, known)
    by_step = table.mse_BS[table.strongest].mean(axis=0)
    return {
        "profile": settings.profile.name,
        "frames": path.name,
        "clips": len(starts),
        "episodes": len(np.unique(read.episode)),
        "clip_digest": clip_digest(read.frames, starts),
        "mse": {name: float(one.mean()) for name, one in sorted(table.mse_BS.items(), key=lambda row: row[1].mean())},
        "strongest": table.strongest,
        "strongest_mse_by_step": by_step.tolist(),
        "skill": skill,
        "max_mse": limit_of(float(by_step.mean()), skill),
    }


def limit_of(strongest_mse: float, skill: float) -> float:
    """Return the largest error with at least this skill over the strongest prediction, rounded down to two digits.

    Raises:
        ConfigError: the prediction is exact, so that no error could be a limit.
    """
    value = strongest_mse * (1.0 - skill)
    if not value > 0:
        raise ConfigError(
            "a prediction without a model makes no error on these clips, so no limit follows from it; choose frames "
            "in which something moves (--data)"
        )
    exact = Decimal(repr(value))
    unit = Decimal(1).scaleb(exact.adjusted() - DIGITS + 1)
    return float((exact // unit) * unit)


def with_limit(text: str, limit: float, skill: float) -> str:
    """Return the text of a profile.yaml with this ``max_mse``, all else unchanged.

    Raises:
        ConfigError: the text does not state it on one line of its own.
    """
    comment = f"# G5: strongest prediction without a model x {1.0 - skill:g}, by `tinyworlds-gate limits`"
    stated = f"{Decimal(repr(limit)):f}"
    changed, count = _LIMIT.subn(lambda found: f"{found['key']} {stated:<19}{comment}", text)
    if count != 1:
        raise ConfigError(
            f"profile.yaml states max_mse {count} times on a line of its own; write `  max_mse: {stated}` once below "
            "`thresholds:`"
        )
    return changed


def limits_text(found: dict[str, Any]) -> str:
    """Return the table that the command prints."""
    width = max(len(name) for name in found["mse"])
    lines = [f"{found['profile']}: {found['clips']} held-out clips of {found['episodes']} episodes ({found['frames']})"]
    lines += [f"  {name:<{width}}  {mse:.6f}" for name, mse in found["mse"].items()]
    lines.append(
        f"max_mse: {found['max_mse']:g} (skill {found['skill']:g} over {found['strongest']}; at step "
        f"1 {found['strongest_mse_by_step'][0]:.6f}, at the last {found['strongest_mse_by_step'][-1]:.6f})"
    )
    return "\n".join(lines)


def _require_own_profile(path: Path, root: Path) -> None:
    if not path.resolve().is_relative_to(root):
        raise ConfigError(
            f"--write: the profile {path.parent.name} is not in this project but in the installed package; copy it "
            f"first (`tinyworlds-gate init`), or leave --write out"
        )


def _skill(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no skill; give a number from 0 to below 1, like 0.35")
    return value
