"""The command `tinyworlds-gate runs [--unfinished] [--json]`: the runs of a project, newest first, from their journals.

Exit status: 0 there is one, 1 there is none (of those asked for).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyworlds_gate.loop.runs import KnownRun, known_runs
from tinyworlds_gate.reports.markdown import clean, clock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--unfinished", action="store_true", help="only those that --resume-run can go on with")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--project-root", type=Path, default=Path(), help="the validated project (default: here)")


def run(args: argparse.Namespace) -> int:
    """Print the runs; what a journal does not let be read is told below them."""
    runs, problems = known_runs(args.project_root.resolve())
    asked = [one for one in runs if one.unfinished is not None] if args.unfinished else runs
    if args.json:
        print(json.dumps([_as_json(one) for one in asked], ensure_ascii=False, indent=1))
    else:
        print(as_text(asked, problems, unfinished=args.unfinished))
    return 0 if asked else 1


def as_text(runs: Sequence[KnownRun], problems: Sequence[str], *, unfinished: bool = False) -> str:
    """A line a run: its folder, since when, how it stands, and how to go on where that is possible."""
    lines = [
        f"results/{one.name}  {clock(one.started_at)} UTC  {one.status}: {clean(one.unfinished or one.sentence)}"
        + (f"; go on: pytest -m {one.kind} --resume-run results/{one.name}" if one.unfinished else "")
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
