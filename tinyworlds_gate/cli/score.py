"""The command `tinyworlds-gate score`: measure three checkpoints on a frames file, or all checkpoints of a run's stage.

    tinyworlds-gate score --video-checkpoint D --latent-checkpoint D --dynamics-checkpoint D --data F.h5 --json
    tinyworlds-gate score --sweep RUN --json
    tinyworlds-gate score --frames FILE.h5 --json

Exit status: 0 when the verdict is PASS, 1 when it is another, 2 when the checkpoints could not be scored. With
`--sweep`, 0 when no checkpoint is distinguishably better than the last, 1 when an earlier one is.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.cli.score_frames import score_frames
from tinyworlds_gate.cli.score_models import cut_chosen_clips, plain, score_models
from tinyworlds_gate.cli.score_options import (
    DEFAULTS,
    OPTION_OF_STAGE,
    SWEEP_ONLY,
    fill_in,
    given_checkpoints,
)
from tinyworlds_gate.cli.score_options import add_arguments as add_arguments
from tinyworlds_gate.cli.score_text import frames_text, score_text
from tinyworlds_gate.cli.sweep import run_sweep
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.gate.extension import load_conftest
from tinyworlds_gate.names import PASS
from tinyworlds_gate.run.atomic import atomic_write


def run(args: argparse.Namespace) -> int:
    """Score and print; return the exit status of the module's docstring.

    Raises:
        GateError: a checkpoint, the frames or an argument is wrong; exit status 2.
    """
    if args.frames is not None:
        custom = load_conftest(args.conftest) if args.conftest else ()
        result, text = score_frames(args, custom), frames_text
    elif args.sweep is not None:
        if args.scorecard is not None:
            raise ConfigError(f"--scorecard {args.scorecard} beside --sweep: it is of one model; leave one of them out")
        return run_sweep(args)
    else:
        result, text = score(args), score_text
    if args.scorecard is not None:
        atomic_write(args.scorecard, result.pop("scorecard").as_text())
    print(json.dumps(plain(result), allow_nan=False, ensure_ascii=False) if args.json else text(result))
    return 0 if result["verdict"]["verdict"] == PASS else 1


def score(args: argparse.Namespace) -> dict[str, Any]:
    """The whole result as plain data: clips, summary, verdict, and what was scored.

    Raises:
        GateError: a checkpoint, the frames or an argument is wrong.
    """
    from tinyworlds_gate.reference.rollout.world_models import load_trained

    _require_checkpoints(args)
    fill_in(args, DEFAULTS)
    custom = load_conftest(args.conftest) if args.conftest else ()
    trained = load_trained(
        {
            stage: resolve_checkpoint(path, stage, require_optimizer=False).path
            for stage, path in given_checkpoints(args).items()
        }
    )
    return score_models(args, trained, cut_chosen_clips(args, trained), custom)


def _require_checkpoints(args: argparse.Namespace) -> None:
    for name in SWEEP_ONLY:
        if getattr(args, name) is not None:
            option = "--" + name.replace("_", "-")
            raise ConfigError(f"{option} {getattr(args, name)}: it belongs to --sweep RUN; add that, or leave it out")
    present = given_checkpoints(args)
    missing = [option for stage, option in OPTION_OF_STAGE.items() if stage not in present]
    missing += [] if args.data is not None else ["--data"]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} missing: score needs three checkpoints and a frames file; to score the checkpoints "
            "of a run instead, use --sweep RUN; to score frames that any model generated, --frames FILE.h5"
        )
