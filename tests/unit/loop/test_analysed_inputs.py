"""L9 of a run that trains nothing: the histories and W&B runs of the runs that its checkpoints came from.

pytest tests/unit/loop/test_analysed_inputs.py
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.fake_stages import FakeProject, fake_project
from tests.helpers.journal_samples import SampleRun
from tinyworlds_gate.loop.evidence import analyse_metrics

STAGE = "video_tokenizer"
STAMP = "2026_01_01_00_00_00"
LOGGED = {"id": "abc123", "project": "tinyworlds", "entity": None, "mode": "offline"}


def given(tmp_path: Path, *, source: str, logged: bool = False) -> tuple[FakeProject, SampleRun]:
    """A run with `--train-stage none` and a checkpoint of another run of the project, which has its own journal."""
    project = fake_project(tmp_path, STAGE)
    root = project.context.layout.project_root
    before = SampleRun(root, run="before").train(STAGE)
    if logged:
        before.add("chunk_started", stage=STAGE, chunk=9, start_update=0, end_update=10, wandb=LOGGED)
    options = project.context.settings.options.model_copy(
        update={
            "wandb_source": source,
            "video_checkpoint": f"results/before/{STAGE}/checkpoints",
            "train_stage": "none",
        }
    )
    project.context.settings = replace(project.context.settings, options=options)
    return project, before


@pytest.mark.requirement("L9", "A3")
def test_the_local_history_of_a_supplied_checkpoint_is_analysed(tmp_path: Path) -> None:
    project, _ = given(tmp_path, source="api_first")
    analysis = analyse_metrics(project.context, STAMP, [])
    assert analysis is not None
    assert (analysis.verdict, analysis.source) == ("PASS", "local")
    assert [row.stage for row in analysis.per_stage] == [STAGE]


@pytest.mark.requirement("L9")
@pytest.mark.parametrize("logged", [False, True])
def test_api_only_is_invalid_when_wandb_gives_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: bool
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    project, before = given(tmp_path, source="api_only", logged=logged)
    analysis = analyse_metrics(project.context, STAMP, [])
    assert analysis is not None
    assert analysis.verdict == "INVALID"
    why = "WANDB_MODE=offline is set, so no server is contacted" if logged else "no chunk logged to W&B"
    assert f"{STAGE}: W&B's API: {why}" in analysis.reason
    shutil.rmtree(before.root / "Logs")
    if not logged:
        (before.folder / "journal.jsonl").unlink()
        gone = analyse_metrics(project.context, STAMP, [])
        assert gone is not None
        assert (gone.verdict, "nothing could be read from W&B" in gone.reason) == ("INVALID", True)
