"""The command `tinyworlds-gate report results/<run>`: write a run's reports again from its journal, without a rerun.

With `--summary` it writes no file and prints the run on one screen, as markdown for the summary of a CI job.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tinyworlds_gate.cli.unreadable_events import reads_journals
from tinyworlds_gate.findings.reporting import RunFiles
from tinyworlds_gate.findings.rows import rejudged
from tinyworlds_gate.loop.recheck import judged_again
from tinyworlds_gate.reports.markdown import shortened
from tinyworlds_gate.reports.missing import missing_reports
from tinyworlds_gate.reports.model import RunRecord, load_record
from tinyworlds_gate.reports.render import write_reports
from tinyworlds_gate.reports.summary import job_summary
from tinyworlds_gate.run.journal import Event
from tinyworlds_gate.run.layout import project_of_run
from tinyworlds_gate.run.redact import redact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run", type=Path, metavar="results/RUN", help="the run's folder, the one with journal.jsonl")
    parser.add_argument(
        "--summary", action="store_true", help="print the run on one screen, as markdown for a CI job; write no file"
    )


@reads_journals
def run(args: argparse.Namespace) -> int:
    """Write the reports and print their paths; return 0, or 1 if evidence is missing or contradicts the verdict.

    Raises:
        GateError: the folder is not a run, or its journal cannot be read.
    """
    folder = args.run.resolve()
    root = project_of_run(folder, args.run)
    if args.summary:
        record, missing = load_record(root, folder), missing_reports(root, folder)
        _judge_again(record)
        over = record.finished is not None and record.last_attempt is not None
        print(job_summary(record, missing if over else ()))
        return 1 if missing or _is_changed(record) else 0
    write_reports(root, folder)
    record = load_record(root, folder)
    _judge_again(record)  # with the reports of this version in place
    words = {"disputed": record.disputed, "unconfirmed": record.unconfirmed}
    for key, path in write_reports(root, folder, record.judged, **words).items():
        print(f"{key}  {path.relative_to(root).as_posix()}")
    print(redact(shortened(f"{record.word()}: {record.verdict()[1]}")))
    problems = missing_reports(root, folder)
    for key, path, reason in problems:
        print(redact(f"missing {key}: {path.relative_to(root).as_posix()}: {reason}"))
    return 1 if problems or _is_changed(record) else 0


def _judge_again(record: RunRecord) -> None:
    """Judge the rows from the whole journal, and the files of the verdict."""
    record.judged = judged_now(record)
    if record.journal is None or record.journal.problem is None:
        again = judged_again(record)
        record.disputed, record.unconfirmed = again.disputed, again.unconfirmed


def _is_changed(record: RunRecord) -> bool:
    return record.disputed is not None or (record.journal is not None and record.journal.problem is not None)


def judged_now(record: RunRecord) -> dict[str, Event]:
    """Return requirement → its row, judged from the whole journal and the run's files as they are now."""
    rows = rejudged(record.events, RunFiles(record.project_root, record.folder))
    return {
        id: {"id": id, "verdict": row.verdict, "reason": row.reason, "evidence": row.evidence}
        for id, row in rows.items()
    }
