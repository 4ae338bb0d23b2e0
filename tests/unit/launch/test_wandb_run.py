"""Each chunk's W&B run: the harness chooses its ID, journals it, and the stage uses it.

Run: pytest tests/unit/launch/test_wandb_run.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.fake_stages import fake_project
from tinyworlds_gate.launch.wandb_run import WandbRun, plan_wandb_run, with_wandb_run
from tinyworlds_gate.loop.stage_controller import StageController

STAGE = "video_tokenizer"


@pytest.mark.requirement("L9")
def test_every_chunk_logs_to_a_run_of_its_own_that_the_journal_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "somebody-elses")
    monkeypatch.setenv("WANDB_RESUME", "must")
    monkeypatch.setenv("WANDB_ENTITY", "zelda-lab")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    project = fake_project(tmp_path, STAGE)
    settings = project.context.settings
    project.context.settings = replace(settings, training=settings.training.model_copy(update={"use_wandb": True}))
    assert StageController(project.context, STAGE, {}).train(8).verdict == "PASS"
    planned = [event["wandb"] for event in project.events("chunk_started")]
    assert [(one["project"], one["entity"], one["mode"]) for one in planned] == [
        ("tinyworlds", "zelda-lab", "offline")
    ] * 2
    used = (project.scripts / "wandb_ids.txt").read_text().splitlines()
    assert used == [f"{one['id']} None" for one in planned]
    assert len(set(used)) == 2


@pytest.mark.requirement("L9")
@pytest.mark.parametrize(
    ("use_wandb", "environment"), [(False, {"WANDB_API_KEY": "x" * 40}), (True, {"WANDB_MODE": "disabled"})]
)
def test_without_wandb_there_is_no_run(tmp_path: Path, use_wandb: bool, environment: dict[str, str]) -> None:
    training = fake_project(tmp_path, STAGE).context.settings.training.model_copy(update={"use_wandb": use_wandb})
    assert plan_wandb_run(training, environment) is None
    assert with_wandb_run(environment, None) == environment


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "x" * 40}, "online"),
        ({"WANDB_API_KEY": "x" * 40, "WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "online"}, "online"),
        ({"WANDB_API_KEY": "x" * 40, "WANDB_MODE": ""}, "online"),
    ],
)
def test_the_mode_is_the_environments(tmp_path: Path, environment: dict[str, str], mode: str) -> None:
    training = fake_project(tmp_path, STAGE).context.settings.training.model_copy(update={"use_wandb": True})
    planned = plan_wandb_run(training, environment)
    assert isinstance(planned, WandbRun)
    assert (planned.mode, planned.entity, len(planned.id)) == (mode, None, 12)
    assert with_wandb_run(environment, planned) == {**environment, "WANDB_RUN_ID": planned.id, "WANDB_MODE": mode}
