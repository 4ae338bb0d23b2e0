"""Kill one run at least 20 times at random and compare its end with that of an uninterrupted run.

    python -m tests.soak [--size tiny|smoke] [--kills 20] [--every SECONDS] [--alone] [--record FILE] [-- PYTEST …]

Without --every, the kills are spread over the time that the uninterrupted run takes. Writes --record (by default
docs/results/soak.json, which docs/faults.md shows) unless it is `none`. Exit status 1: the ends differ.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.faults.recorder import machine_text
from tests.faults.render import main as render
from tests.soak.page import RECORD
from tests.soak.projects import SIZES, make_soak_project
from tests.soak.soak import Soaked, soak
from tinyworlds_gate.run.atomic import atomic_write


def main() -> int:
    """Run the soak, print its figures and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="smoke", help="the project (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs (default: %(default)s)")
    parser.add_argument("--every", type=float, help="mean seconds between two kills")
    parser.add_argument("--alone", action="store_true", help="measure the effective training time; compare nothing")
    parser.add_argument("--seed", type=int, default=0, help="of moments and processes (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the projects go and stay (default: a temporary folder)")
    parser.add_argument("--record", default=str(RECORD), help="the JSON file to add the figures to, or none")
    parser.add_argument("words", nargs="*", metavar="PYTEST ARGUMENTS", help="of both runs, after --")
    args = parser.parse_args()
    base = args.folder or Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        return _soak(args, base)
    finally:
        if args.folder is None:
            shutil.rmtree(base, ignore_errors=True)


def _soak(args: argparse.Namespace, base: Path) -> int:
    deadline_s = None if args.every is None else 3600
    # A kill is a try of its chunk (T6).
    words = [f"--max-train-retries={args.kills}", *args.words]
    project = make_soak_project(base / "killed", args.size, deadline_s=deadline_s)
    plain = None
    if not args.alone:
        undisturbed = make_soak_project(base / "plain", args.size, deadline_s=deadline_s)
        plain = soak(undisturbed, words, kills=0, every_s=1.0)
        print(f"uninterrupted: {plain.seconds:.0f} s", flush=True)
        if plain.problem is not None:
            print(plain.problem)
            return 1
        shutil.copytree(undisturbed / "data", project / "data", dirs_exist_ok=True)
    every_s = args.every or max(5.0, plain.seconds / args.kills if plain is not None else 60.0)
    killed = soak(project, words, kills=args.kills, every_s=every_s, seed=args.seed)
    same = killed.problem is None and killed.is_whole and (plain is None or killed.outcome == plain.outcome)
    figures = _figures(args, plain, killed, every_s, same)
    print(json.dumps(figures, indent=1))
    if killed.problem is not None:
        print(killed.problem)
    if args.record != "none":
        record = Path(args.record)
        known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        name = args.size if args.every is None else f"{args.size}, every {args.every:g} s"
        atomic_write(record, json.dumps({**known, name: figures}, indent=1) + "\n")
        if record == RECORD:
            render()
    return 0 if same and len(killed.kills) >= args.kills else 1


def _figures(
    args: argparse.Namespace, plain: Soaked | None, killed: Soaked, every_s: float, same: bool
) -> dict[str, Any]:
    found = [None if one is None else one.effective for one in (plain, killed)]
    shares = [None if one is None else round(one.share, 4) for one in found]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine_text(),
        "load": round(os.getloadavg()[0], 1),
        "arguments": args.words,
        "kills": len(killed.kills),
        "kills_of_the_harness": sum(one.harness for one in killed.kills),
        "every_s": round(every_s, 1),
        "sessions": killed.sessions,
        "uninterrupted_s": None if plain is None else round(plain.seconds),
        "killed_s": round(killed.seconds),
        "uninterrupted_effective": shares[0],
        "killed_effective": shares[1],
        "bit_identical": None if plain is None else same,
        "killed_processes": [f"{one.second:.0f} s: {one.what}" for one in killed.kills],
    }


if __name__ == "__main__":
    sys.exit(main())
