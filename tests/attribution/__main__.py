"""Inject faults blindly and count how often the report names cause, stage and rank.

    python -m tests.attribution [--count 40] [--seed 0] [--jobs 2] [--device cpu] [--kind SIGSTOP] [--record FILE]

Writes docs/results/attribution.json and docs/attribution.md, or with --record only that file; --merge takes over such
a file of another machine instead of running anything. Exit status 1: fewer than 95 % right, or a wrong one.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.attribution.plan import Planned, draw, kinds_for
from tests.attribution.project import Watchdog
from tests.attribution.reading import read_report
from tests.attribution.session import Harness
from tests.attribution.table import PAGE, RECORD, RIGHT, WRONG, Outcome, page, record_of, write_record
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.plain_json import load_json

REQUIRED_SHARE = 0.95


def main() -> int:
    """Draw, run and compare; print a line per fault and the counts."""
    args = _arguments()
    if args.merge:
        return merge(args.merge)
    kinds = [kind for kind in kinds_for(args.device) if not args.kind or kind.name in args.kind]
    plan = draw(args.count, args.seed, kinds)
    root = Path(tempfile.mkdtemp(prefix="attribution-"))
    began = time.monotonic()
    try:
        outcomes = run_all(plan, root, Watchdog(args.stall, args.deadline), args.jobs, on_gpus=args.device == "cuda")
    finally:
        if args.keep:
            print(f"The projects are in {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)
    record = record_of(
        outcomes,
        device=args.device,
        seed=args.seed,
        machine=_machine(args.device),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        seconds=time.monotonic() - began,
    )
    write_record(record, args.record or RECORD)
    if args.record is None:
        _render()
    print(f"{record['faults']} faults: {record[RIGHT]} right, {record['unknown']} unknown, {record[WRONG]} wrong")
    return 0 if not record[WRONG] and record[RIGHT] >= REQUIRED_SHARE * record["faults"] else 1


def merge(path: Path) -> int:
    """Take the records of a file over into the kept one, and write the page."""
    for record in load_json(path.read_text(encoding="utf-8")).values():
        write_record(record, RECORD)
    _render()
    return 0


def _render() -> None:
    atomic_write(PAGE, page(load_json(RECORD.read_text(encoding="utf-8"))))


def run_all(plan: list[Planned], root: Path, watchdog: Watchdog, jobs: int, *, on_gpus: bool) -> list[Outcome]:
    """Run every fault of the plan, ``jobs`` at a time, the slowest kinds first."""
    own = threading.local()
    with ExitStack() as stack:

        def run(fault: Planned) -> Outcome:
            if not hasattr(own, "harness"):
                own.harness = stack.enter_context(Harness())
            folder = root / f"{fault.number:03}"
            folder.mkdir()
            ran = own.harness.run(folder, fault.stage, fault, watchdog, on_gpus=on_gpus)
            outcome = Outcome(fault, read_report(ran.report), ran.seconds, ran.happened)
            named = outcome.named
            print(
                f"{outcome.verdict:8}{fault.kind.name} ({fault.kind.cause}), {fault.stage}, rank {fault.rank}, "
                f"update {fault.moment}{'' if ran.happened else ', DID NOT HAPPEN'}: {named.cause}, {named.stage}, "
                f"rank {named.rank} ({ran.seconds:.0f} s)",
                flush=True,
            )
            return outcome

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(run, sorted(plan, key=lambda fault: not fault.kind.slow)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40, help="faults (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="draws kinds, stages, ranks and updates (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")
    parser.add_argument("--kind", action="append", help="only this kind of fault (may be repeated)")
    parser.add_argument("--stall", type=float, help="seconds without a step (default: 60; GPUs: 25)")
    parser.add_argument("--deadline", type=float, help="seconds for a chunk (default: 120; GPUs: 50)")
    parser.add_argument("--record", type=Path, help="write the record here, and no page")
    parser.add_argument("--merge", type=Path, help="take the records of this file over, and run nothing")
    parser.add_argument("--keep", action="store_true", help="keep the projects and their reports")
    args = parser.parse_args()
    stall, deadline = (60.0, 120.0) if args.device == "cpu" else (25.0, 50.0)
    args.stall, args.deadline = args.stall or stall, args.deadline or deadline
    return args


def _machine(device: str) -> str:
    machine = f"{os.cpu_count()} CPU cores, Python {platform.python_version()}"
    if device == "cpu":
        return machine
    import torch

    return f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}, {machine}"


if __name__ == "__main__":
    sys.exit(main())
