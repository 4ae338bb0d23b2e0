"""Where a reader finds what a row of the requirement table rests on (pure)."""

from __future__ import annotations

from tinyworlds_gate.reports.model import RequirementRow, RunRecord
from tinyworlds_gate.reports.names import report_names

SHOWN_IN = {
    "A6": ("L2", "L3", "L5", "S1", "S2", "S3", "S4", "S5", "M1", "M2", "M3"),
    "A5": ("L8", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "H8", "H9"),
}
"""Report → the requirements whose facts it lists, where the test named no file of its own."""


def evidence_of(row: RequirementRow, record: RunRecord) -> str | None:
    """The project-relative file: what the test named, else the report with the facts, else the journal.

    None for what was not run, since nothing shows it.
    """
    if row.verdict == "NOT-RUN" or row.evidence:
        return row.evidence
    report = next((key for key, ids in SHOWN_IN.items() if row.id in ids), None)
    return f"docs/action/{report_names(record)[report]}" if report else f"results/{record.folder.name}/journal.jsonl"
