"""The command `tinyworlds-gate runs [--unfinished] [--json]`: list the runs of a project, newest first.

With `--plot` or `--csv` it draws or writes the verdicts over time instead, with `--pack` or `--unpack` it carries a run
to another machine. Exit status: 0 if at least one run is
listed, else 1.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyworlds_gate.cli.unreadable_events import reads_journals
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.loop.runs import KnownRun, known_runs
from tinyworlds_gate.reports.markdown import clean, clock
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.installation import resume_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--unfinished", action="store_true", help="only runs that --resume-run can resume")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--project-root", type=Path, default=Path(), help="the validated project (default: here)")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw the verdicts over time: error, skill, objects, minutes"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="write the same numbers, a line for each run")
    parser.add_argument(
        "--kept",
        type=Path,
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="of --plot and --csv: further kept runs (those below docs/results/ are found by themselves)",
    )
    carry = parser.add_mutually_exclusive_group()
    carry.add_argument(
        "--pack", nargs=2, metavar=("results/RUN", "FILE.zip"), help="write a run, with its checkpoints, into one file"
    )
    carry.add_argument("--unpack", type=Path, metavar="FILE.zip", help="restore a packed run in this project")


@reads_journals
def run(args: argparse.Namespace) -> int:
    """Print the runs and, below them, the journals that cannot be read; return 0 if a run is listed, else 1.

    Raises:
        GateError: options contradict each other, there is no run to draw, or a file cannot be written.
    """
    if args.pack or args.unpack is not None:
        return _carry(args)
    if args.plot is not None or args.csv is not None:
        return _history(args)
    if args.kept:
        raise GateError("--kept needs --plot FILE.png or --csv FILE.csv: a list has the runs of this project only.")
    runs, problems = known_runs(args.project_root.resolve())
    listed = [one for one in runs if one.unfinished is not None] if args.unfinished else runs
    if args.json:
        print(json.dumps([_as_json(one) for one in listed], ensure_ascii=False, indent=1))
    else:
        print(as_text(listed, problems, unfinished=args.unfinished))
    return 0 if listed else 1


def _history(args: argparse.Namespace) -> int:
    """Write the picture and the CSV."""
    from tinyworlds_gate.reports.history import as_csv, read_history

    if args.unfinished or args.json:
        raise GateError("--plot and --csv go without --unfinished and --json: they show runs that have a verdict.")
    if args.plot is not None and args.plot.suffix.lower() != ".png":
        raise GateError(f"--plot {args.plot} is no name of a picture: allowed is a file that ends in .png.")
    root = args.project_root.resolve()
    rows, problems = read_history(root, args.kept)
    for problem in problems:
        print(f"not read: {clean(problem)}")
    if not rows:
        raise GateError(
            f"There is no run to show below {args.project_root / 'results'} or docs/results/. Start one, name the "
            "project with --project-root, or kept runs with --kept."
        )
    written = [path for path in (args.plot, args.csv) if path is not None]
    for path in written:
        try:
            if path is args.plot:
                from tinyworlds_gate.reports.history_plot import save_history

                save_history(rows, root.name, path)
            else:
                atomic_write(path, as_csv(rows))
        except OSError as error:
            option = "--plot" if path is args.plot else "--csv"
            raise GateError(
                f"{option} {path} cannot be written ({error.strerror}). Make its folder writable, or name another file."
            ) from error
        print(f"{path}: {len(rows)} run{'' if len(rows) == 1 else 's'}")
    return 0


def _carry(args: argparse.Namespace) -> int:
    """Write a run into a file, or restore it from one."""
    from tinyworlds_gate.cli.carry_run import pack, unpack

    if args.plot is not None or args.csv is not None or args.unfinished or args.json or args.kept:
        raise GateError("--pack and --unpack go without other options than --project-root: they carry one run.")
    root = args.project_root.resolve()
    print(pack(root, *map(Path, args.pack)) if args.pack else unpack(root, args.unpack))
    return 0


def as_text(runs: Sequence[KnownRun], problems: Sequence[str], *, unfinished: bool = False) -> str:
    """Return a line per run: its folder, start time, status, and the command that resumes it if it is unfinished."""
    lines = [
        f"results/{one.name}  {clock(one.started_at)} UTC  {one.status}: {clean(one.unfinished or one.sentence)}"
        + (f"; go on: {clean(resume_command(one.kind, one.name, one.options))}" if one.unfinished else "")
        for one in runs
    ]
    if not runs:
        lines.append(f"There is no {'unfinished ' if unfinished else ''}run in this project.")
    return "\n".join(lines + [f"not read: {clean(problem)}" for problem in problems])


def _as_json(one: KnownRun) -> dict[str, Any]:
    return {
        "run": f"results/{one.name}",
        "started": one.started_at,
        "kind": one.kind,
        "profile": one.profile,
        "options": dict(one.options),
        "status": one.status,
        "sentence": clean(one.sentence),
        "unfinished": one.unfinished,
    }
