"""The command `tinyworlds-gate convert WEIGHTS --to FOLDER`: published single-file weights as checkpoint folders."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("weights", nargs="+", type=Path, help="single .pth files, or folders of them")
    parser.add_argument("--to", type=Path, default=Path("results/converted"), help="folder (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write ``FOLDER/<stage>/checkpoints/<stage>_step_<n>`` for each file and print the paths; return 0."""
    from tinyworlds_gate.checkpoints.published import convert_published, is_published, read_published
    from tinyworlds_gate.errors import CheckpointError

    for given in args.weights:
        files = sorted(path for path in given.iterdir() if is_published(path)) if given.is_dir() else [given]
        if not files:
            raise CheckpointError(f"{given} holds no .pth or .pt file; give the files, or the folder that holds them")
        for file in files:
            reference = convert_published(file, args.to / read_published(file).stage / "checkpoints")
            print(f"{file} -> {reference.path} ({reference.parameters} parameters)")
    return 0
