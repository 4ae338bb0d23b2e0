"""The command `tinyworlds-gate verdict results/<run> [--json]`: does a run's verdict hold for what is on the disk now?

Exit status: 0 it holds and is a pass, 1 it does not hold or is none, 2 the folder is no run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tinyworlds_gate.loop.recheck import VerdictNow, verdict_now


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("run", type=Path, metavar="results/RUN", help="the run's folder, the one with journal.jsonl")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Look and say it; 0 when the verdict holds and is a pass, else 1.

    Raises:
        GateError: the folder is no run, or its journal cannot be read.
    """
    found = verdict_now(args.run)
    print(_as_json(found) if args.json else verdict_text(found))
    return 0 if found.passed else 1


def verdict_text(found: VerdictNow) -> str:
    """The answer for a terminal."""
    told = found.sentence.removeprefix(f"{found.verdict}: ")
    if found.holds:
        return (
            f"{found.verdict}: {told}\n"
            f"{found.run}: this holds for what is on the disk now: weights, clips, settings, frames, code and versions "
            "are those that the verdict was taken on, and its files give it again."
        )
    changes = "\n".join(f"  - {change}" for change in found.changes)
    return (
        f"INVALID: the verdict of {found.run} does not hold for what is on the disk now:\n{changes}\n"
        f"It was {found.verdict}: {told}"
    )


def _as_json(found: VerdictNow) -> str:
    return json.dumps(
        {
            "run": found.run,
            "verdict": found.now,
            "holds": found.holds,
            "changes": found.changes,
            "recorded": {
                "verdict": found.verdict,
                "sentence": found.sentence,
                "attempt": found.attempt,
                "binding": found.binding,
            },
        },
        ensure_ascii=False,
        indent=1,
    )
