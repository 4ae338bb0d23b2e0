"""Read every hostile checkpoint and HDF5 file and record how that ended; minutes on two cores.

    python -m tests.hostile_files [--jobs 2] [--no-record]

Writes docs/results/hostile_files.json and docs/hostile-inputs.md. Exit status 1: an input made a reader fail.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from itertools import islice
from multiprocessing import get_context

import torch

from tests.hostile_files.content_cases import checkpoint_cases
from tests.hostile_files.hdf5_cases import hdf5_cases
from tests.hostile_files.page import PAGE, RECORD, page
from tests.hostile_files.readers import CHECKPOINT_READERS, HDF5_READERS, examine_hdf5
from tests.hostile_files.run_cases import Outcome, run_cases
from tinyworlds_gate.reference.data import hdf5_input
from tinyworlds_gate.run.atomic import atomic_write


def checkpoints(part: int = 0, parts: int = 1) -> Outcome:
    """Read each n-th hostile checkpoint."""
    return run_cases(islice(checkpoint_cases(), part, None, parts), CHECKPOINT_READERS, first_decides=True)


def hdf5_files(part: int = 0, parts: int = 1) -> Outcome:
    """Read each n-th hostile HDF5 file."""
    return run_cases(islice(hdf5_cases(), part, None, parts), HDF5_READERS, examine_hdf5)


SUITES = {"checkpoints": checkpoints, "HDF5 files": hdf5_files}


def main() -> int:
    """Run all inputs, print the figures and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--no-record", action="store_true", help="write no file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    hdf5_input.TIMEOUT_S = 10.0
    began = time.monotonic()
    with get_context("fork").Pool(args.jobs) as pool:
        outcomes = {
            name: sum(pool.starmap(part, [(number, args.jobs) for number in range(args.jobs)]), Outcome())
            for name, part in SUITES.items()
        }
    seconds = round(time.monotonic() - began)
    for name, outcome in outcomes.items():
        print(f"{name}: {outcome.inputs} inputs of {len(outcome.kinds)} kinds, {len(outcome.problems)} failures")
        for problem in outcome.problems:
            print(f"  {problem}")
    if not args.no_record:
        record = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "seconds": seconds,
            "jobs": args.jobs,
            "outcomes": {name: outcome.as_record() for name, outcome in outcomes.items()},
        }
        atomic_write(RECORD, json.dumps(record, indent=1) + "\n")
        atomic_write(PAGE, page())
    return 1 if any(outcome.problems for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
