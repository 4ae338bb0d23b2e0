"""A run in a temporary project that can be reported: its journal begins as a run's does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers.fake_stages import FakeProject, fake_project
from tinyworlds_gate.reports.render import write_reports
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.context import RunContext

STAMP = "2026_01_02_03_04_05"


def faulty_project(root: Path, stage: str, **keywords: Any) -> FakeProject:
    """``fake_project`` (its keywords) whose journal starts with ``run_started``, so that reports can be written."""
    project = fake_project(root, stage, **keywords)
    begin_journal(project.context)
    return project


def begin_journal(context: RunContext) -> None:
    """The first two events of a run."""
    settings = context.settings
    context.journal.append(
        "run_started",
        schema=1,
        run=context.layout.run,
        timestamp=STAMP,
        profile=settings.profile.name,
        kind=settings.profile.kind,
        command=["pytest", "validation/", "-m", "smoke"],
        project_root=".",
        target=context.target.kind,
        options={},
        seed=settings.profile.seed,
        versions={},
        machine={"hostname_hash": None, "cpus": 2, "memory_gib": 8.0, "gpus": []},
        commit=None,
        dirty=None,
    )
    context.journal.append(
        "settings_resolved",
        settings=settings.table(),
        thresholds=settings.profile.thresholds.model_dump(),
        notes=settings.notes,
    )


def reports_of(layout: RunLayout, ids: Sequence[str] = ("A1", "A5", "A6")) -> dict[str, str]:
    """The reports of the run as they are written from its journal now: ID → text with single blanks."""
    written = write_reports(layout.project_root, layout.root)
    return {id: " ".join(written[id].read_text(encoding="utf-8").split()) for id in ids}
