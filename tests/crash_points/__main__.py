"""Inject a fault at every change that the product makes on a disk; minutes on two cores.

    python -m tests.crash_points [--jobs 2] [--subject journal] [--no-record]

Writes docs/results/crash_points.json and the section "Crash points" of docs/faults.md. Exit status 1: a problem.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime

import torch

from tests.crash_points.subjects import SUBJECTS
from tests.crash_points.sweep import Counts, sweep_in_processes
from tests.crash_points.table import RECORD
from tests.faults.render import main as render
from tinyworlds_gate.run.atomic import atomic_write


def main() -> int:
    """Run the sweep, print the counts and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--subject", action="append", choices=[one.name for one in SUBJECTS], help="only these")
    parser.add_argument("--no-record", action="store_true", help="write no file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    began, total = time.monotonic(), Counts()
    for subject in SUBJECTS:
        if args.subject and subject.name not in args.subject:
            continue
        since, counts = time.monotonic(), sweep_in_processes(subject, args.jobs)
        total.cases.update(counts.cases)
        total.problems += counts.problems
        cases = sum(counts.cases.values())
        print(f"{subject.name}: {cases} cases, {len(counts.problems)} problems, {time.monotonic() - since:.0f} s")
        for problem in counts.problems:
            print(f"  {problem}")
        sys.stdout.flush()
    seconds = time.monotonic() - began
    print(f"{sum(total.cases.values())} cases, {len(total.problems)} problems, {seconds:.0f} s")
    if not args.no_record and not args.subject:
        write_record(total, seconds, args.jobs)
        render()
    return 1 if total.problems else 0


def write_record(total: Counts, seconds: float, jobs: int) -> None:
    """Write the counts per subject and fault, and the problems."""
    rows: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (row, fault), number in total.cases.items():
        rows[row][fault] = number
    data = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seconds": round(seconds),
        "jobs": jobs,
        "cases": sum(total.cases.values()),
        "problems": total.problems,
        "rows": rows,
    }
    atomic_write(RECORD, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    sys.exit(main())
