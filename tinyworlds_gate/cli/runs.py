"""The command `tinyworlds-gate runs [--unfinished] [--json]`: list the runs of a project, newest first.

Exit status: 0 if at least one run is listed, else 1.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyworlds_gate.cli.unreadable_events import reads_journals
from tinyworlds_gate.loop.runs import KnownRun, known_runs
from tinyworlds_gate.reports.markdown import clean, clock
from tinyworlds_gate.run.installation import loop_command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--unfinished", action="store_true", help="only runs that --resume-run can resume")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--project-root", type=Path, default=Path(), help="the validated project (default: here)")


@reads_journals
def run(args: argparse.Namespace) -> int:
    """Print the runs and, below them, the journals that cannot be read; return 0 if a run is listed, else 1."""
    runs, problems = known_runs(args.project_root.resolve())
    listed = [one for one in runs if one.unfinished is not None] if args.unfinished else runs
    if args.json:
        print(json.dumps([_as_json(one) for one in listed], ensure_ascii=False, indent=1))
    else:
        print(as_text(listed, problems, unfinished=args.unfinished))
    return 0 if listed else 1


def as_text(runs: Sequence[KnownRun], problems: Sequence[str], *, unfinished: bool = False) -> str:
    """Return a line per run: its folder, start time, status, and the command that resumes it if it is unfinished."""
    lines = [
        f"results/{one.name}  {clock(one.started_at)} UTC  {one.status}: {clean(one.unfinished or one.sentence)}"
        + (f"; go on: {loop_command(one.kind)} --resume-run results/{one.name}" if one.unfinished else "")
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
