"""The command `tinyworlds-gate report results/<run>`: write a run's reports again from its journal, without a rerun.

With `--summary`, `--comment` or `--annotations` it writes no report: it prints the run on one screen, as a comment on a
pull request, or as the error lines that GitHub shows beside a change.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tinyworlds_gate.cli.unreadable_events import reads_journals
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.loop.judged_record import judge_again
from tinyworlds_gate.reports.annotations import annotation_lines
from tinyworlds_gate.reports.comment import Around, addresses, checked_key, film_strips, run_comment
from tinyworlds_gate.reports.comment_markup import checked_url
from tinyworlds_gate.reports.markdown import shortened
from tinyworlds_gate.reports.missing import Missing, missing_reports
from tinyworlds_gate.reports.model import RunRecord, load_record
from tinyworlds_gate.reports.render import write_reports
from tinyworlds_gate.reports.summary import job_summary
from tinyworlds_gate.run.atomic import atomic_write
from tinyworlds_gate.run.layout import project_of_run
from tinyworlds_gate.run.redact import redact

STDOUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("run", type=Path, metavar="results/RUN", help="the run's folder, the one with journal.jsonl")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--summary", action="store_true", help="print the run on one screen, as markdown for a CI job; write no file"
    )
    shown.add_argument(
        "--comment",
        nargs="?",
        const=STDOUT,
        metavar="FILE",
        help="print the comment on a pull request (or write it to FILE): merge or not, the numbers, the film strips",
    )
    shown.add_argument(
        "--annotations", action="store_true", help="print a line `::error …` for each cause of a failure, for GitHub"
    )
    parser.add_argument("--page-url", metavar="URL", help="of --comment: where the page can be opened")
    parser.add_argument(
        "--picture-url",
        metavar="PREFIX",
        help="of --comment: address below which the film strips can be seen without a login, by their file names",
    )
    parser.add_argument(
        "--baseline-picture",
        metavar="FILE.png",
        help="of --comment: film strip of the baseline in the project (default: beside the baseline's file)",
    )
    parser.add_argument(
        "--comment-key", metavar="NAME", default=None, help="of --comment: tells comments of several jobs apart"
    )


@reads_journals
def run(args: argparse.Namespace) -> int:
    """Write the reports and print their paths; return 0, or 1 if evidence is missing or contradicts the verdict.

    Raises:
        GateError: the folder is not a run, or its journal cannot be read.
    """
    folder = args.run.resolve()
    root = project_of_run(folder, args.run)
    around = _around(args)
    if args.summary or args.comment or args.annotations:
        record, missing = load_record(root, folder), missing_reports(root, folder)
        judge_again(record)
        over = record.finished is not None and record.last_attempt is not None
        shown = missing if over else []
        if args.summary:
            print(job_summary(record, shown))
        elif args.annotations:
            for line in annotation_lines(record, shown, Path.cwd()):
                print(line)
        else:
            _comment(record, around, shown, args)
        return 1 if missing or _is_changed(record) else 0
    write_reports(root, folder)
    record = load_record(root, folder)
    judge_again(record)  # with the reports of this version in place
    words = {"disputed": record.disputed, "unconfirmed": record.unconfirmed}
    for key, path in write_reports(root, folder, record.judged, **words).items():
        print(f"{key}  {path.relative_to(root).as_posix()}")
    print(redact(shortened(f"{record.word()}: {record.verdict()[1]}")))
    problems = missing_reports(root, folder)
    for key, path, reason in problems:
        print(redact(f"missing {key}: {path.relative_to(root).as_posix()}: {reason}"))
    return 1 if problems or _is_changed(record) else 0


def _around(args: argparse.Namespace) -> Around:
    """Return the addresses of the comment; they are checked before anything is read."""
    named = {
        "--page-url": args.page_url,
        "--picture-url": args.picture_url,
        "--baseline-picture": args.baseline_picture,
        "--comment-key": args.comment_key,
    }
    if args.comment is None and (without := [name for name, value in named.items() if value is not None]):
        raise GateError(f"{', '.join(without)} needs --comment: it says what the comment shows. Add --comment.")
    page = None if args.page_url is None else checked_url(args.page_url, "--page-url")
    return Around(page_url=page) if args.comment_key is None else Around(checked_key(args.comment_key), page_url=page)


def _comment(record: RunRecord, around: Around, missing: list[Missing], args: argparse.Namespace) -> None:
    strips = film_strips(record, args.baseline_picture)
    pictures = {} if args.picture_url is None else addresses(strips, checked_url(args.picture_url, "--picture-url"))
    text = run_comment(record, Around(around.key, page_url=around.page_url, pictures=pictures), strips, missing)
    if args.comment == STDOUT:
        print(text, end="")
        return
    try:
        atomic_write(Path(args.comment), text)
    except OSError as error:
        raise GateError(
            f"--comment {args.comment} cannot be written ({error.strerror}). Make its folder writable, or name another "
            "file."
        ) from error


def _is_changed(record: RunRecord) -> bool:
    return record.disputed is not None or (record.journal is not None and record.journal.problem is not None)
