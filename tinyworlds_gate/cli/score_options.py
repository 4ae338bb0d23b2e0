"""The options of `tinyworlds-gate score`, and the defaults of those that a sweep may take from its run."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from tinyworlds_gate.cli.score_clips import add_clip_arguments
from tinyworlds_gate.config.cli_values import parse_count, parse_positive_int
from tinyworlds_gate.config.thresholds import STRICT_THRESHOLDS

OPTION_OF_STAGE = {
    "video_tokenizer": "--video-checkpoint",
    "latent_actions": "--latent-checkpoint",
    "dynamics": "--dynamics-checkpoint",
}
DEFAULTS: dict[str, Any] = {
    "steps": 12,
    "decode_steps": 16,
    "rollout": "tokens",
    "token_choice": "likeliest",
    "stride": 1,
    "seed": 0,
    "tf32": False,
    "max_mse": STRICT_THRESHOLDS.max_mse,
}
"""Values of options that a sweep takes from its run where the run records them."""
SWEEP_ONLY = ("stage", "every", "at_most", "picture")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments; the defaults of `DEFAULTS` are filled in later."""
    add_checkpoint_arguments(parser)
    parser.add_argument("--data", type=Path, metavar="F.h5", help="frames, uint8 [N, H, W, 3]")
    parser.add_argument(
        "--frames",
        metavar="FILE.h5[::GROUP]",
        help="judge frames that any model generated instead: datasets context, true and generated (docs/score.md)",
    )
    _add_sweep_arguments(parser)
    add_clip_arguments(parser)
    add_rollout_arguments(parser)
    parser.add_argument("--steps", type=parse_positive_int, help="frames generated (default: 12)")
    parser.add_argument(
        "--batch-size", type=parse_positive_int, default=16, help="clips at once (default: %(default)s)"
    )
    parser.add_argument("--seed", type=parse_count, help="of random actions and intervals (default: 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument(
        "--tf32", action="store_true", default=None, help="TF32 matrix products on CUDA: faster, rounded"
    )
    parser.add_argument(
        "--max-mse", type=_error, help=f"largest error that passes (default: {STRICT_THRESHOLDS.max_mse})"
    )
    parser.add_argument(
        "--conftest",
        type=Path,
        metavar="FILE",
        help="a Python file of yours with conditions and metrics to add (docs/extending.md); it is executed",
    )
    parser.add_argument(
        "--scorecard", type=Path, metavar="FILE.json", help="write each clip's numbers for `tinyworlds-gate compare`"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare an option for the checkpoint of each stage."""
    for stage, option in OPTION_OF_STAGE.items():
        parser.add_argument(
            option, type=Path, metavar="D", help=f"a {stage}_step_<n> folder, or its checkpoints/ parent"
        )


def add_rollout_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how frames are generated, and at which stride the file is read."""
    parser.add_argument(
        "--context", type=parse_positive_int, help="true frames given (default: one less than trained on)"
    )
    parser.add_argument("--decode-steps", type=parse_positive_int, help="MaskGIT passes a frame (default: 16)")
    parser.add_argument(
        "--rollout",
        choices=("tokens", "pixels"),
        help="what is fed back: the tokens, or frames that are tokenised again as TinyWorlds does (default: tokens)",
    )
    parser.add_argument(
        "--memory-window",
        type=parse_positive_int,
        metavar="N",
        help="frames that a step sees at most, true and generated ones (default: --context, as TinyWorlds does)",
    )
    parser.add_argument(
        "--token-choice",
        choices=("likeliest", "nearest_mean", "mean"),
        help="what is taken: the likeliest token, the nearest to the predicted mean, or that mean (default: likeliest)",
    )
    parser.add_argument("--stride", type=parse_positive_int, help="take every n-th frame (ZELDA: 4; default: 1)")


def _add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("all checkpoints of a stage")
    group.add_argument(
        "--sweep",
        metavar="RUN",
        help="score every checkpoint of a stage of this run (its name, or its folder results/RUN) on the same held-out "
        "clips; frames, clips and rollout are those of the run where no option says otherwise",
    )
    group.add_argument("--stage", choices=("dynamics", "video_tokenizer"), help="default: dynamics")
    group.add_argument(
        "--every", type=parse_positive_int, metavar="N", help="every n-th checkpoint, counted back from the last"
    )
    group.add_argument(
        "--at-most",
        type=parse_positive_int,
        metavar="N",
        help="at most this many checkpoints, spread evenly, the last one included",
    )
    group.add_argument(
        "--picture",
        type=Path,
        metavar="FILE.png",
        help="where the picture goes (default: RUN/sweep_<stage>.png; with --frames none is drawn)",
    )


def wants_scorecard(args: argparse.Namespace) -> bool:
    """Whether each clip's numbers are wanted; a sweep, and commands without the option, want none."""
    return getattr(args, "scorecard", None) is not None


def given_checkpoints(args: argparse.Namespace) -> dict[str, Path]:
    """Stage → the path that its option names, for the options that are present."""
    paths = {stage: getattr(args, option[2:].replace("-", "_")) for stage, option in OPTION_OF_STAGE.items()}
    return {stage: path for stage, path in paths.items() if path is not None}


def fill_in(args: argparse.Namespace, values: dict[str, Any]) -> None:
    """Set the options that are absent on the command line."""
    for name, value in values.items():
        if getattr(args, name) is None:
            setattr(args, name, value)


def _error(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no error; give a number above 0, like 0.03")
    return value
