"""The command `tinyworlds-gate verdict results/<run> [--json]`: check whether a verdict holds for the files on disk.

Exit status: 0 the verdict holds and is a pass, 1 it does not hold or is not a pass, 2 the folder is not a run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tinyworlds_gate.cli.unreadable_events import reads_journals
from tinyworlds_gate.gate.extension import load_conftest
from tinyworlds_gate.loop.recheck import VerdictNow, verdict_now
from tinyworlds_gate.run.redact import redact, redact_tree


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run", type=Path, metavar="results/RUN", help="the run's folder, the one with journal.jsonl")
    parser.add_argument(
        "--conftest",
        type=Path,
        metavar="FILE",
        help="the Python file that defines the run's own conditions (docs/extending.md); it is executed",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


@reads_journals
def run(args: argparse.Namespace) -> int:
    """Check the verdict and print the result; return 0 if the verdict holds and is a pass, else 1.

    Raises:
        GateError: the folder is not a run, its journal cannot be read, or ``--conftest`` is wrong.
    """
    found = verdict_now(args.run, custom=load_conftest(args.conftest) if args.conftest else ())
    print(_as_json(found) if args.json else redact(verdict_text(found)))
    return 0 if found.passed else 1


def verdict_text(found: VerdictNow) -> str:
    """Return the result as text for a terminal."""
    sentence = found.sentence.removeprefix(f"{found.verdict}: ")
    if found.holds:
        return (
            f"{found.verdict}: {sentence}\n"
            f"{found.run}: the verdict holds for the files on disk: checkpoints, clips, settings, frames, evidence, "
            "code and versions are those of the verdict, and its files give the same verdict again."
        )
    changes = "\n".join(f"  - {change}" for change in found.changes)
    return (
        f"INVALID: the verdict of {found.run} does not hold for the files on disk:\n{changes}\n"
        f"It was {found.verdict}: {sentence}"
    )


def _as_json(found: VerdictNow) -> str:
    return json.dumps(
        redact_tree(
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
            }
        ),
        ensure_ascii=False,
        indent=1,
    )
