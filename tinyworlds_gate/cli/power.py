"""The command `tinyworlds-gate power`: check that the gate detects every known defect and passes healthy trainings.

    tinyworlds-gate power --record docs/results/gate-power.json --page docs/gate-power.md
    tinyworlds-gate power --only copy-last,truth
    tinyworlds-gate power --variants 20 --record docs/results/gate-power.json
    tinyworlds-gate power --trainings 20

Exit status: 0 if every row holds and every training and variant passes, else 1.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tinyworlds_gate.config.cli_values import parse_whole
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.names import PASS
from tinyworlds_gate.run.atomic import atomic_write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--only", metavar="ID,ID", help="only these rows (default: all)")
    parser.add_argument(
        "--jobs", type=parse_whole, default=2, help="inference processes at once (default: %(default)s)"
    )
    parser.add_argument(
        "--trainings", type=parse_whole, default=0, metavar="N", help="train N models instead, which must pass"
    )
    parser.add_argument(
        "--variants",
        type=parse_whole,
        default=0,
        metavar="N",
        help="measure the healthy model on N other sets of episodes and N perfect simulations instead; all must pass",
    )
    parser.add_argument(
        "--first-seed", type=parse_whole, default=0, help="seed of the first training (default: %(default)s)"
    )
    parser.add_argument(
        "--runs", type=Path, nargs="+", metavar="results/RUN", help="add finished runs of the smoke profile instead"
    )
    parser.add_argument("--record", type=Path, metavar="F.json", help="add the measurements to this file")
    parser.add_argument("--page", type=Path, metavar="F.md", help="write a page of the record")


def run(args: argparse.Namespace) -> int:
    """Measure, print a line per row, and record; return 0 if every row holds and every training passes, else 1.

    Raises:
        GateError: a row is unknown, or the test scene cannot be made.
    """
    if args.page is not None and args.record is None:
        raise GateError("--page needs a record; name its file with --record")
    with tempfile.TemporaryDirectory(prefix="tinyworlds-gate-power-") as folder:
        if args.runs:
            good = _runs(args)
        else:
            measure = _trainings if args.trainings else _variants if args.variants else _rows
            good = measure(args, Path(folder))
    if args.page is not None:
        from tinyworlds_gate.power.page import page
        from tinyworlds_gate.power.record import read_record

        atomic_write(args.page, page(read_record(args.record)))
    return 0 if good else 1


def _rows(args: argparse.Namespace, folder: Path) -> bool:
    from tinyworlds_gate.power.record import add_rows, measured_here, read_record, row_of, write_record
    from tinyworlds_gate.power.scene import make_scene, try_gate
    from tinyworlds_gate.power.table import DEFECTS, LIMITS
    from tinyworlds_gate.power.trial import caught, caught_without, finished_scene, try_defect

    known = {one.id: one for one in (*DEFECTS, *LIMITS)}
    chosen = [id.strip() for id in args.only.split(",")] if args.only else list(known)
    unknown = [id for id in chosen if id not in known]
    if unknown:
        raise GateError(f"--only {','.join(unknown)}: no such defect; known are {', '.join(known)}")
    control = try_gate(make_scene(folder / "healthy")).attempt.verdict
    print(f"healthy model: {control.sentence}", flush=True)
    after = any(known[id].afterwards for id in chosen)
    finished = finished_scene(folder / "finished") if after else None
    rows: dict[str, Any] = {}
    where, good, limits = measured_here(Path.cwd()), control.verdict == PASS, {one.id for one in LIMITS}

    def measure(id: str) -> tuple[str, dict[str, Any], str]:
        defect, root = known[id], folder / id
        outcome = try_defect(defect, root, finished)
        holds = caught(defect, outcome) and not caught_without(defect, outcome)
        word = "limit " if id in limits else "caught" if holds else "MISSED"
        line = f"{word} {id}: {outcome.verdict} by {', '.join(outcome.reasons) or 'nothing'}; without {defect.check}: "
        return id, row_of(defect, outcome, root), line + outcome.without

    with ThreadPoolExecutor(max(1, args.jobs)) as pool:
        for id, row, line in pool.map(measure, chosen):
            rows[id] = row | where
            good = good and not line.startswith("MISSED")
            print(line, flush=True)
    if args.record is not None:
        record = read_record(args.record)
        for key, table in (("rows", DEFECTS), ("limits", LIMITS)):
            ids = [one.id for one in table]
            add_rows(record, key, {id: row for id, row in rows.items() if id in ids}, ids)
        write_record(args.record, record)
    return good


def _variants(args: argparse.Namespace, folder: Path) -> bool:
    from tinyworlds_gate.power.record import add_trainings, measured_here, read_record, write_record
    from tinyworlds_gate.power.variants import other_episodes, simulation

    seeds, good = range(args.first_seed, args.first_seed + args.variants), True
    for key, measure in (("variants", other_episodes), ("simulations", simulation)):
        with ThreadPoolExecutor(max(1, args.jobs)) as pool:
            done = list(pool.map(measure, seeds, [folder / f"{key}{seed}" for seed in seeds]))
        for one in done:
            print(f"{key}, seed {one.seed}: {one.sentence}", flush=True)
        good = good and all(one.verdict == PASS for one in done)
        if args.record is not None:
            record = read_record(args.record)
            add_trainings(record, done, measured_here(Path.cwd()), key)
            write_record(args.record, record)
    return good


def _runs(args: argparse.Namespace) -> bool:
    from tinyworlds_gate.power.record import read_record, smoke_training, write_record

    found = [smoke_training(folder) for folder in args.runs]
    for seed, row in found:
        print(f"seed {seed}: {row['verdict']}, MSE {row['mse']:.4f}", flush=True)
    if args.record is not None:
        record = read_record(args.record)
        known = record.setdefault("smoke_trainings", {}) | dict(found)
        record["smoke_trainings"] = dict(sorted(known.items(), key=lambda item: int(item[0])))
        write_record(args.record, record)
    return all(row["verdict"] == PASS for _, row in found)


def _trainings(args: argparse.Namespace, folder: Path) -> bool:
    from tinyworlds_gate.power.record import add_trainings, measured_here, read_record, write_record
    from tinyworlds_gate.power.trainings import train_and_try

    began = time.monotonic()
    seeds = range(args.first_seed, args.first_seed + args.trainings)
    done = []
    with ThreadPoolExecutor(max(1, args.jobs)) as pool:
        for one in pool.map(lambda seed: train_and_try(seed, folder / str(seed)), seeds):
            done.append(one)
            print(f"seed {one.seed}: {one.sentence} ({one.seconds:.0f} s)", flush=True)
    passed = sum(one.verdict == PASS for one in done)
    print(f"{passed} of {len(done)} trainings passed in {time.monotonic() - began:.0f} s", flush=True)
    if args.record is not None:
        record = read_record(args.record)
        add_trainings(record, done, measured_here(Path.cwd()))
        write_record(args.record, record)
    return passed == len(done)
