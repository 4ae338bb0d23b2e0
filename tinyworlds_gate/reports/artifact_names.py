"""Paths of a run's artifacts; each name carries the run's timestamp."""

from __future__ import annotations

from pathlib import Path

from tinyworlds_gate.reports.model import RequirementRow, RunRecord


def audit_year(record: RunRecord) -> int:
    """Return the audited year from the git evidence, else from the settings, else the default."""
    if record.git and isinstance(record.git.get("year"), int):
        return int(record.git["year"])
    setting = ((record.settings or {}).get("settings") or {}).get("history_audit_year") or {}
    value = setting.get("value") if isinstance(setting, dict) else None
    return value if isinstance(value, int) else 2025


def report_names(record: RunRecord) -> dict[str, str]:
    """Return ID → file name under docs/action/ (A4: a folder)."""
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
    """Return ID → path under the project's docs/action/."""
    action = record.project_root / "docs" / "action"
    return {key: action / name for key, name in report_names(record).items()}


SHOWN_IN = {
    "A6": ("L2", "L3", "L5", "S1", "S2", "S3", "S4", "S5", "M1", "M2", "M3"),
    "A5": ("L8", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "H8", "H9"),
}
"""Report → the requirements that it documents, for tests that name no evidence file."""


def evidence_of(row: RequirementRow, record: RunRecord) -> str | None:
    """Return the evidence of a requirement as a project-relative path.

    It is the file that the test named, else the report that documents it, else the journal; None for NOT-RUN.
    """
    if row.verdict == "NOT-RUN" or row.evidence:
        return row.evidence
    report = next((key for key, ids in SHOWN_IN.items() if row.id in ids), None)
    return f"docs/action/{report_names(record)[report]}" if report else f"results/{record.folder.name}/journal.jsonl"
