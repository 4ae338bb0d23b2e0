"""The command `tinyworlds-gate policies`: rank scripted policies inside a trained model and in the true game.

    tinyworlds-gate policies results/RUN
    tinyworlds-gate policies CHECKPOINTS --frames FILE.h5 --output FOLDER

Exit status: 0, or 2 when the model, its frames or the emulator cannot be used. The numbers are shown and judge nothing.
"""

from __future__ import annotations

import argparse
import json
import sys

from tinyworlds_gate.cli.horizon import add_model_arguments, output_folder
from tinyworlds_gate.cli.play import requested
from tinyworlds_gate.config.cli_values import parse_positive_int
from tinyworlds_gate.run.atomic import atomic_write

STEPS, STARTS = 64, 32
NAME = "policies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments; what a run records is its default."""
    add_model_arguments(parser, NAME)
    parser.add_argument(
        "--steps", type=parse_positive_int, default=STEPS, help="steps of a policy (default: %(default)s)"
    )
    parser.add_argument(
        "--starts", type=parse_positive_int, default=STARTS, help="states to start from, at most (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, write JSON and picture, and print the sentences.

    Raises:
        GateError: the model, its frames or the emulator cannot be used; exit status 2.
    """
    wanted = requested(args, NAME)
    folder = output_folder(args)
    from tinyworlds_gate.play.world import open_world
    from tinyworlds_gate.policies.measure import measure_world
    from tinyworlds_gate.policies.picture import draw_picture

    print("Loading the model …", file=sys.stderr, flush=True)
    world = open_world(wanted, learn_meanings=False)
    record = measure_world(
        world,
        starts=args.starts,
        steps=args.steps,
        batch_size=args.batch_size,
        seed=args.seed or 0,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    paths = {kind: folder / f"{NAME}.{kind}" for kind in ("json", "png")}
    draw_picture(record, paths["png"])
    text = json.dumps(record, indent=1, allow_nan=False)
    atomic_write(paths["json"], text + "\n")
    print(text if args.json else "\n".join([*record["sentences"], f"Written: {paths['json']} and {paths['png']}"]))
    return 0
