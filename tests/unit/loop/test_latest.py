"""`--checkpoint-policy latest`: the newest valid checkpoint of each stage in earlier runs of the profile (P1, H2, H7).

pytest tests/unit/loop/test_latest.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.checkpoint_files import flip_byte, write_ours
from tests.helpers.config_files import copy_profile
from tests.helpers.finding_events import event
from tests.helpers.finding_events import journal as numbered
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.findings.rows import judge_rows
from tinyworlds_gate.findings.training import defaults, stage_gate
from tinyworlds_gate.loop.start import resolve_run
from tinyworlds_gate.names import STAGES

LATEST = {"checkpoint_policy": "latest"}
OLD, NEW = "longrun_2026_01_01_00_00_00", "longrun_2026_01_02_00_00_00"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the long-run profile, whose sizes are those of the checkpoints, and two earlier runs."""
    copy_profile("baseline", tmp_path / "configs")
    copy_profile("longrun", tmp_path / "configs/profiles/longrun")
    for time, run in enumerate((OLD, NEW)):
        journal(tmp_path, run, time=float(time))
    return tmp_path


def journal(project: Path, run: str, *, time: float, profile: str = "longrun") -> None:
    folder = project / "results" / run
    folder.mkdir(parents=True)
    start = event("run_started", seq=0, time=time, run=run, profile=profile, kind="longrun", options={})
    (folder / "journal.jsonl").write_text(json.dumps(start) + "\n")


def checkpoint(project: Path, run: str, stage: str, step: int, **manifest: Any) -> CheckpointRef:
    return write_ours(project / "results" / run / stage / "checkpoints", stage, step, manifest={"run": run, **manifest})


def resolved(project: Path, **options: Any) -> Settings:
    return resolve_run("longrun", {**LATEST, **options}, project, environment={})[0]


def chosen(settings: Settings) -> dict[str, str]:
    table = settings.table()
    return {
        short: f"{Path(value).parents[2].name}/{Path(value).name}"
        for short in ("video", "latent", "dynamics")
        if (value := table[f"options.{short}_checkpoint"]["value"]) is not None
    }


@pytest.mark.requirement("P1", "H7")
def test_a_trained_stage_starts_from_the_newest_valid_checkpoint_and_its_learning_rate(project: Path) -> None:
    checkpoint(project, OLD, "video_tokenizer", 199)
    checkpoint(project, NEW, "video_tokenizer", 9)
    damaged = checkpoint(project, NEW, "video_tokenizer", 19)
    flip_byte(damaged.path / "model_state_dict.pt", 600)
    settings = resolved(project)
    assert chosen(settings) == {"video": f"{NEW}/video_tokenizer_step_9"}
    assert settings.provenance["options.video_checkpoint"] == "--checkpoint-policy latest"
    assert settings.source_of("video_tokenizer", "learning_rate") == "resumed checkpoint"
    assert settings.notes[-3:] == (
        "--checkpoint-policy latest: video_tokenizer starts from results/longrun_2026_01_02_00_00_00/video_tokenizer/"
        "checkpoints/video_tokenizer_step_9",
        "--checkpoint-policy latest: latent_actions starts from new weights, no earlier run has a valid checkpoint of "
        "it",
        "--checkpoint-policy latest: dynamics starts from new weights, no earlier run has a valid checkpoint of it",
    )


@pytest.mark.requirement("H2")
def test_fresh_is_the_default_and_looks_at_no_earlier_run(project: Path) -> None:
    checkpoint(project, NEW, "video_tokenizer", 9)
    assert chosen(resolve_run("longrun", {}, project, environment={})[0]) == {}


def test_runs_of_another_profile_and_models_of_another_size_are_left_alone(project: Path) -> None:
    journal(project, "other_2026_01_03_00_00_00", time=9.0, profile="other")
    checkpoint(project, "other_2026_01_03_00_00_00", "video_tokenizer", 99)
    checkpoint(project, OLD, "video_tokenizer", 9)
    assert chosen(resolved(project)) == {"video": f"{OLD}/video_tokenizer_step_9"}
    training = project / "configs/profiles/longrun/training.yaml"
    training.write_text(training.read_text().replace("embed_dim: 32", "embed_dim: 64"))
    assert chosen(resolved(project)) == {}


def test_an_option_names_the_checkpoint_of_its_stage(project: Path) -> None:
    checkpoint(project, NEW, "video_tokenizer", 9)
    older = checkpoint(project, OLD, "video_tokenizer", 4)
    settings = resolved(project, video_checkpoint=str(older.path))
    assert chosen(settings) == {"video": f"{OLD}/video_tokenizer_step_4"}
    assert settings.provenance["options.video_checkpoint"] == "option --video-checkpoint"


@pytest.mark.requirement("C4")
def test_dynamics_is_one_that_was_trained_on_the_models_chosen_with_it(project: Path) -> None:
    video, latent = (checkpoint(project, NEW, stage, 9) for stage in ("video_tokenizer", "latent_actions"))
    lineage = {"tokenizer_sha256": video.model_sha256, "latent_actions_sha256": latent.model_sha256}
    checkpoint(project, OLD, "dynamics", 4, **lineage)
    checkpoint(project, NEW, "dynamics", 9, **{**lineage, "tokenizer_sha256": "0" * 64})
    expected = {
        "video": f"{NEW}/video_tokenizer_step_9",
        "latent": f"{NEW}/latent_actions_step_9",
        "dynamics": f"{OLD}/dynamics_step_4",
    }
    for stage in ("all", "dynamics", "none"):
        assert chosen(resolved(project, train_stage=stage)) == expected, stage
    (project / "results" / OLD / "journal.jsonl").unlink()
    with pytest.raises(CheckpointError, match=r"valid checkpoint of dynamics(.|\n)*dynamics_step_9: .*records tokeni"):
        resolved(project, train_stage="none")
    assert "dynamics" not in chosen(resolved(project, train_stage="dynamics"))


@pytest.mark.parametrize(
    ("stage", "missing"), [("none", "--video-checkpoint"), ("dynamics", "--video-checkpoint"), ("latent_actions", None)]
)
def test_a_model_that_is_needed_and_not_trained_must_be_there(project: Path, stage: str, missing: str | None) -> None:
    if missing is None:
        assert chosen(resolved(project, train_stage=stage)) == {}
        return
    with pytest.raises(CheckpointError, match=f"no earlier run of profile longrun has .* Name one with {missing}"):
        resolved(project, train_stage=stage)


@pytest.mark.requirement("H7")
def test_a_resumed_run_keeps_the_checkpoints_of_its_journal(project: Path) -> None:
    checkpoint(project, OLD, "video_tokenizer", 9)
    recorded = resolved(project).table()
    checkpoint(project, NEW, "video_tokenizer", 99)
    again, _ = resolve_run("longrun", LATEST, project, environment={}, recorded=recorded)
    assert chosen(again) == {"video": f"{OLD}/video_tokenizer_step_9"}
    assert again.table() == recorded


COMPLETE = [
    event("stage_finished", stage=stage, verdict="NOT-RUN", reason="not trained: the start has had 9")
    for stage in STAGES
]


@pytest.mark.requirement("H1", "S1", "L5")
def test_a_stage_whose_start_had_reached_its_target_is_no_occasion_for_training() -> None:
    events = numbered(event("run_started", options=LATEST), *COMPLETE)
    rows = {one.id: one for one in judge_rows(events)}
    assert rows["S1"] == Finding("S1", "NOT-RUN", "no occasion: video_tokenizer: not trained: the start has had 9")
    assert all(rows[id].had_no_occasion for id in ("H1", "S3", "L5", "L2", "H5", "H6", "S4", "P1", "M2", "H7"))
    partly = numbered(*events[:-1], event("chunk_started", stage="dynamics", chunk=1))
    assert defaults(partly)[0].had_no_occasion
    assert stage_gate(partly, "latent_actions").had_no_occasion
    assert stage_gate(partly, "dynamics").verdict == "FAIL"
    assert not defaults(partly[:2])[0].had_no_occasion, "two stages are left"


@pytest.mark.requirement("P1")
def test_a_run_on_another_dataset_does_not_count(project: Path) -> None:
    for run, dataset in ((OLD, "ZELDA"), (NEW, "PONG")):
        checkpoint(project, run, "video_tokenizer", 9)
        resolved_as = event("settings_resolved", seq=1, settings={"training.dataset": {"value": dataset, "source": ""}})
        with (project / "results" / run / "journal.jsonl").open("a") as file:
            file.write(json.dumps(resolved_as) + "\n")
    assert chosen(resolved(project)) == {"video": f"{OLD}/video_tokenizer_step_9"}
    assert chosen(resolved(project, dataset="PONG")) == {"video": f"{NEW}/video_tokenizer_step_9"}
    assert chosen(resolved(project, dataset="DOOM")) == {}
