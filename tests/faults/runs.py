"""A run in a temporary project whose journal starts like a real one, so that reports can be written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.conftest import BeginScene
from tests.faults.scene import Scene
from tests.helpers.fake_stages import FakeProject, fake_project
from tinyworlds_gate.context import RunContext
from tinyworlds_gate.reports.render import write_reports
from tinyworlds_gate.run.layout import RunLayout

STAMP = "2026_01_02_03_04_05"


def faulty_project(root: Path, stage: str, scene: BeginScene, **keywords: Any) -> FakeProject:
    """``fake_project`` (its keywords) on a scene, with a journal that begins so that reports can be written.

    The ledger takes an entry at every sentence that the loop says: at every chunk's beginning and end, gate and retune.
    """
    project = fake_project(root, stage, **keywords)
    begin_journal(project.context)
    hold_at_every_word(project.context, scene(root, project.context.target.stage_script(stage)))
    return project


def hold_at_every_word(context: RunContext, scene: Scene) -> None:
    """Update the ledger whenever the loop prints a line."""
    say = context.say

    def say_and_hold(sentence: str) -> None:
        say(sentence)
        scene.hold()

    context.say = say_and_hold


def begin_journal(context: RunContext) -> None:
    """Write the first two events of a run."""
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
    """Write the reports from the current journal and return ID → text with single spaces."""
    written = write_reports(layout.project_root, layout.root)
    return {id: " ".join(written[id].read_text(encoding="utf-8").split()) for id in ids}
