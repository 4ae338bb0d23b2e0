"""The file names of a run's artifacts (closed-loop.md, Artifacts), all with the run's own timestamp."""

from __future__ import annotations

from pathlib import Path

from tinyworlds_gate.reports.model import RequirementRow, RunRecord


def audit_year(record: RunRecord) -> int:
    """The audited year: of the git evidence, else of the settings, else the default."""
    if record.git and isinstance(record.git.get("year"), int):
        return int(record.git["year"])
    setting = ((record.settings or {}).get("settings") or {}).get("history_audit_year") or {}
    value = setting.get("value") if isinstance(setting, dict) else None
    return value if isinstance(value, int) else 2025


def report_names(record: RunRecord) -> dict[str, str]:
    """ID → file name under docs/action/ (A4: a folder)."""
    stamp = record.timestamp
    return {
        "A1": f"train-to-inference-report-{stamp}.md",
        "A2": f"zelda-{audit_year(record)}-git-evidence-{stamp}.md",
        "A3": f"wandb-analysis-{stamp}.md",
        "A4": f"plots/wandb-analysis-{stamp}",
        "A5": f"train-to-inference-retrospective-{stamp}.md",
        "A6": f"auto-training-loop-report-{stamp}.md",
    }


def report_paths(record: RunRecord) -> dict[str, Path]:
    """ID → path under the project's docs/action/."""
    action = record.project_root / "docs" / "action"
    return {key: action / name for key, name in report_names(record).items()}


# Where a reader finds what a row of the requirement table rests on (pure).

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
