"""The file names of a run's artifacts (closed-loop.md, Artifacts), all with the run's own timestamp."""

from __future__ import annotations

from pathlib import Path

from tinyworlds_gate.reports.model import RunRecord


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
