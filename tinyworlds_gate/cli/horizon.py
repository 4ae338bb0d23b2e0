"""The command `tinyworlds-gate horizon`: long rollouts of held-out clips, and how many steps of them are usable.

    tinyworlds-gate horizon results/RUN
    tinyworlds-gate horizon CHECKPOINTS --frames FILE.h5 --output FOLDER

Exit status: 0, or 2 when the model or its frames cannot be used. The numbers are shown and judge nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tinyworlds_gate.cli.play import add_world_arguments, requested
from tinyworlds_gate.cli.sweep_run import find_run
from tinyworlds_gate.config.cli_values import parse_positive_int
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.owned import owned_folder

STEPS, CLIPS, BATCH = 64, 64, 16
NAME = "horizon"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments; what a run records is its default."""
    add_model_arguments(parser, NAME)
    parser.add_argument(
        "--steps", type=parse_positive_int, default=STEPS, help="steps of a rollout (default: %(default)s)"
    )
    parser.add_argument(
        "--clips", type=parse_positive_int, default=CLIPS, help="held-out clips, at most (default: %(default)s)"
    )


def add_model_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the arguments that say which model is measured on which frames, and where the result goes."""
    add_world_arguments(parser, frames="held-out frames", seed="of clips, samples and intervals")
    parser.add_argument("--batch-size", type=parse_positive_int, default=BATCH, help="default: %(default)s")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help=f"where {name}.json and {name}.png go (default: the run's folder, else the current one)",
    )
    parser.add_argument("--json", action="store_true", help="print the JSON object instead of sentences")


def run(args: argparse.Namespace) -> int:
    """Measure, write JSON and picture, and print the sentences.

    Raises:
        GateError: the model or its frames cannot be used; exit status 2.
    """
    wanted = requested(args, NAME)
    folder = output_folder(args)
    from tinyworlds_gate.horizon.measure import measure_world
    from tinyworlds_gate.horizon.picture import draw_picture
    from tinyworlds_gate.play.world import open_world

    print("Loading the model …", file=sys.stderr, flush=True)
    world = open_world(wanted, learn_meanings=False)
    found = measure_world(
        world,
        steps=args.steps,
        clips=args.clips,
        batch_size=args.batch_size,
        seed=args.seed or 0,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    paths = {kind: folder / f"{NAME}.{kind}" for kind in ("json", "png")}
    draw_picture(found, paths["png"])
    text = json.dumps(found.record, indent=1, allow_nan=False)
    atomic_write(paths["json"], text + "\n")
    print(text if args.json else as_text(found.record, paths))
    return 0


def output_folder(args: argparse.Namespace) -> Path:
    """Return the folder of the results, and make it where it is absent.

    Raises:
        GateError: it cannot be written.
        OSError: it cannot be made, or a link leads elsewhere.
    """
    folder = Path()
    if args.output is not None:
        folder = owned_folder(args.output, args.output)
    elif args.where is not None and (found := find_run(args.where, NAME)).events:
        folder = found.folder
    if not os.access(folder, os.W_OK):
        raise GateError(f"{folder.resolve()} cannot be written; make it writable, or name another folder with --output")
    return folder


def as_text(record: dict[str, object], paths: dict[str, Path]) -> str:
    """Return what was measured, as lines for a terminal."""
    kind = "held-out clips" if record["held_out"] else "clips"
    lines = [
        f"{kind.capitalize()} of {record['frames']}: {record['clips']}, of episodes: {record['episodes']}; "
        f"{record['context']} true frames, then {record['steps']} steps"
    ]
    if record["note"]:
        lines.append(f"Note: {record['note']}.")
    if not record["held_out"]:
        lines.append("Note: no stage recorded this file as its training data, so all of its episodes are measured.")
    said = record["sentences"]
    assert isinstance(said, list)
    return "\n".join([*lines, *said, f"Written: {paths['json']} and {paths['png']}"])
