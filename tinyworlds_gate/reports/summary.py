"""One-screen summary of a run for a CI job: verdict, numbers, open requirements, next steps and files.

`tinyworlds-gate report results/<run> --summary` prints it, and in a GitHub job the plugin appends it to
`$GITHUB_STEP_SUMMARY`. Its size is bounded far below GitHub's limit of 1 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyworlds_gate.names import PASS
from tinyworlds_gate.reports import gate_views, retrospective, views
from tinyworlds_gate.reports.markdown import environment
from tinyworlds_gate.reports.missing import Missing
from tinyworlds_gate.reports.model import RunRecord
from tinyworlds_gate.reports.render import requirement_counts
from tinyworlds_gate.run.journal import events_of

SHOWN_ROWS = 20
LONGEST_TEXT = 600
FILE_LABELS = {
    "A8": "the page, open this first",
    "A1": "from training to inference",
    "A5": "retrospective",
    "A6": "every chunk of training",
    "A3": "metrics of the stages",
    "A2": "git history",
}


def job_summary(record: RunRecord, missing: Sequence[Missing] = ()) -> str:
    """Return the summary as GitHub-flavoured markdown, escaped and redacted.

    Args:
        missing: the result of `missing_reports`; listed, because it fails the run.
    """
    _, sentence = record.verdict()
    return (
        environment()
        .get_template("job_summary.md.j2")
        .render(
            record=record,
            verdict=record.word(),
            sentence=short(sentence[:1].upper() + sentence[1:]),
            required=gate_views.required(record),
            attempts=[_attempt(attempt) for attempt in record.attempts[-SHOWN_ROWS:]],
            stages=[(name, event) for name, event in record.stages.items()],
            degraded=record.degraded_stages,
            counts=requirement_counts(record),
            open_rows=_open_rows(record),
            next_steps=[short(line) for line in retrospective.next_steps(record)],
            missing=[(key, record_path(record, path), reason) for key, path, reason in missing],
            files=_files(record),
            short=short,
            SHOWN_ROWS=SHOWN_ROWS,
        )
    )


def no_run_summary(reason: str) -> str:
    """Return the summary of a job whose closed loop started no run."""
    return (
        environment()
        .from_string("## Closed loop: INVALID\n\nNo run was started. {{ reason }}\n")
        .render(reason=short(reason))
    )


def short(text: object) -> str:
    """Return the text, cut to at most `LONGEST_TEXT` characters."""
    whole = str(text)
    return whole if len(whole) <= LONGEST_TEXT else whole[: LONGEST_TEXT - 1] + "…"


def record_path(record: RunRecord, path: Any) -> str:
    """Return the path relative to the project, as it is in the CI artifact."""
    return str(path.relative_to(record.project_root)) if path.is_relative_to(record.project_root) else str(path)


def _attempt(attempt: Any) -> dict[str, Any]:
    row, measures = views.attempt_row(attempt), attempt.measures
    numbers = {key: measures.get(key) for key in ("mse_low", "mse_high", "mean_frame_mse", "tokenizer_recon_mse")}
    return {**row, **numbers}


def _open_rows(record: RunRecord) -> list[tuple[str, str, str]]:
    """Return (IDs, verdict, reason) of what did not pass, worst first; requirements with one reason share a row."""
    grouped: dict[tuple[str, str], list[str]] = {}
    rows = [row for row in record.requirements() if row.verdict != PASS]
    for row in sorted(rows, key=lambda row: ("FAIL", "INVALID", "DEGRADED", "NOT-RUN").index(row.verdict)):
        grouped.setdefault((row.verdict, row.reason), []).append(row.id)
    return [(" ".join(ids), verdict, short(reason)) for (verdict, reason), ids in grouped.items()]


def _files(record: RunRecord) -> list[tuple[str, str]]:
    """Return (path, description) of the files worth opening, the page first."""
    written = {str(event.get("id")): str(event.get("path")) for event in events_of(record.events, "report_written")}
    files = [(written[id], what) for id, what in FILE_LABELS.items() if id in written]
    row = views.attempt_row(record.last_attempt) if record.last_attempt else {}
    pictures = {"verdict_picture": "the verdict in one picture", "picture": "true and predicted frames"}
    files += [(str(row[key]), what) for key, what in pictures.items() if row.get(key)]
    return [*files, (f"results/{record.folder.name}/journal.jsonl", "all events, in order")]
