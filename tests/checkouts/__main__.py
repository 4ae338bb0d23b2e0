"""Measure one checkout and merge its row into the record, or merge rows that were measured elsewhere.

    python -m tests.checkouts --repo OWNER/NAME --commit SHA --checkout FOLDER --devices cpu --work FOLDER
    python -m tests.checkouts --repo … --devices 2 --record row.json      # on another machine
    python -m tests.checkouts --merge row.json                            # here
    python -m tests.checkouts --page                                      # only the page

Words after ``--`` go to pytest: ``-- --video-target-updates 400``. ``--reread`` reads the last journal of ``--work``
again and keeps the time of the recorded run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.checkouts.measure import Wanted, newest_journal, run_loop
from tests.checkouts.page import page
from tests.checkouts.record import DEVICES, merged, read_record, write_record
from tests.checkouts.row import facts_of, run_of, without_paths
from tests.helpers.config_files import REPOSITORY
from tinyworlds_gate.run.journal import last_event, read_journal
from tinyworlds_gate.targets.detect import detect

RECORD = REPOSITORY / "docs/results/checkouts.json"
PAGE = RECORD.with_suffix(".md")


def main(words: list[str]) -> int:
    """Run the command; returns 0 if the loop gave a verdict."""
    args = _arguments(words)
    rows = read_record(args.record)
    status = 0
    if args.merge:
        for file in args.merge:
            rows = merged(rows, read_record(file))
    elif not args.page:
        row = measured(args, rows)
        rows = merged(rows, row)
        (run,) = next(iter(row.values()))["runs"].values()
        print(f"{run['verdict']}, exit status {run['exit_status']}, {run['seconds']} s: {run['sentence']}")
        status = 0 if run["verdict"] else 1
    write_record(args.record, rows)
    if args.record == RECORD:
        PAGE.write_text(page(read_record(RECORD)), encoding="utf-8")
    return status


def measured(args: argparse.Namespace, rows: dict[str, Any]) -> dict[str, Any]:
    """Run the loop on one checkout and return its row."""
    overrides = {key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in args.override)}
    wanted = Wanted(
        args.checkout.resolve(), args.devices, args.work.resolve(), args.python, args.words, overrides, args.injected
    )
    key = f"{args.repo}@{args.commit}"
    terminal = rows[key]["runs"][args.devices] if args.reread else run_loop(wanted)
    journal = newest_journal(wanted.work)
    events = [] if journal is None else read_journal(journal)
    private = {
        str(wanted.checkout): "CHECKOUT",
        str(wanted.work): "WORK",
        str(wanted.python): "PYTHON",
        str(REPOSITORY): ".",
    }
    taken = {name: terminal[name] for name in ("command", "exit_status", "seconds", "injected")}
    run = {**without_paths(taken, private), **run_of(events, private)}
    run["torch"] = (last_event(events, "target_preflight") or {}).get("torch")
    if args.fault:
        run["fault"] = {"whose": args.whose, "sentence": args.fault, "by": args.fault_by}
    facts = facts_of(events, detect(wanted.checkout).describe())
    return {key: {"repository": args.repo, "commit": args.commit, **facts, "runs": {args.devices: run}}}


def _arguments(words: list[str]) -> argparse.Namespace:
    split = words.index("--") if "--" in words else len(words)
    own, for_pytest = words[:split], words[split + 1 :]
    parser = argparse.ArgumentParser(prog="python -m tests.checkouts", description=__doc__.partition("\n")[0])
    parser.add_argument("--repo", metavar="OWNER/NAME")
    parser.add_argument("--commit", metavar="SHA")
    parser.add_argument("--checkout", type=Path, metavar="FOLDER", help="a clone of the repository at that commit")
    parser.add_argument("--devices", choices=DEVICES, default="cpu", help="the CPU, one GPU or two")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="outputs, outside the checkout")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="the checkout's interpreter")
    parser.add_argument("--override", action="append", default=[], metavar="KEY=VALUE", help="a setting of every stage")
    parser.add_argument(
        "--injected", action="append", default=[], metavar="SENTENCE", help="what the machine adds besides"
    )
    parser.add_argument("--record", type=Path, default=RECORD, metavar="FILE", help=f"default: {RECORD.name}")
    parser.add_argument("--merge", type=Path, nargs="+", metavar="FILE", help="records of other machines")
    parser.add_argument("--page", action="store_true", help="only generate the page again")
    parser.add_argument("--reread", action="store_true", help="read the last journal again, run nothing")
    parser.add_argument("--whose", default="", help="whose fault a failure is, if the journal does not show it")
    parser.add_argument("--fault", default="", metavar="SENTENCE", help="why")
    parser.add_argument("--fault-by", default="", metavar="NAME", help="who says so")
    args = parser.parse_args(own)
    args.words = for_pytest
    needed = ("repo", "commit", "checkout", "work")
    if not (args.merge or args.page) and not all(getattr(args, name) for name in needed):
        parser.error(f"a measurement needs {', '.join('--' + name for name in needed)}")
    if args.fault and not (args.whose and args.fault_by):
        parser.error("--fault needs --whose and --fault-by")
    return args


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
