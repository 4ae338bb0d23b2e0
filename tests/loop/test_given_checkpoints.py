"""Runs that train nothing, and an inference run that ends badly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.config_files import replace_line
from tests.helpers.tiny_project import Session, checkpoint_options, make_project, no_checkpoint_in, run_pytest


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, passing: Session) -> Session:
    """`--train-stage none` in another project, with the models of the passing run."""
    project = make_project(tmp_path_factory.mktemp("evaluated") / "project")
    return run_pytest(project, "validation", "-m", "smoke", "--train-stage", "none", *checkpoint_options(passing))


def test_train_stage_none_trains_nothing_and_states_the_verdict(evaluated: Session) -> None:
    assert evaluated.exit_status == 0, evaluated.output
    assert evaluated.events("chunk_started") == []
    assert no_checkpoint_in(evaluated.project)
    assert [event["verdict"] for event in evaluated.events("gate_verdict")] == ["PASS"]
    assert "\nPASS (no training): the strict autoregressive (" in evaluated.output


@pytest.mark.requirement("G2", "G5")
def test_the_same_models_on_the_same_clips_score_the_same(evaluated: Session, passing: Session) -> None:
    again, before = (session.events("gate_verdict")[0]["measures"] for session in (evaluated, passing))
    assert again["clip_digest"] == before["clip_digest"]
    assert again["mse"] == pytest.approx(before["mse"], abs=1e-7)


def test_what_was_not_trained_is_not_run_with_its_reason(evaluated: Session) -> None:
    for id in ("S1", "S2", "S3", "S4", "L5", "H1", "H5", "H7", "M2", "P1"):
        verdict, reason = evaluated.found(id)
        assert verdict == "NOT-RUN", id
        assert "not trained" in reason or "no chunk" in reason or "--train-stage none" in reason, (id, reason)
    assert evaluated.found("H3")[0] == evaluated.found("C4")[0] == "PASS"


@pytest.mark.requirement("G1")
def test_an_inference_run_that_crashes_fails_g1_and_the_log_is_named(project: Path, passing: Session) -> None:
    # The script meets a folder where its picture belongs: it computes everything, and then ends with exit code 1.
    block = project / "conftest.py"
    block.write_text(block.read_text() + CRASH)
    words = ["--train-stage", "none", *checkpoint_options(passing)]
    session = run_pytest(project, "validation", "-m", "smoke", *words)
    assert session.exit_status == 1, session.output
    verdict, reason = session.found("G1")
    assert verdict == "FAIL"
    assert reason.startswith("the inference command ended with exit code 1, so its work is not done: FileExistsError: ")
    log = f"results/{session.run.name}/logs/inference_01.log"
    assert f"the inference log: {log}" in session.output
    assert "Error" in (project / log).read_text()


@pytest.mark.slow
@pytest.mark.requirement("G1")
def test_an_inference_run_past_its_deadline_fails_g1(project: Path, passing: Session) -> None:
    profile = project / "configs/profiles/smoke/profile.yaml"
    replace_line(profile, "watchdog", "watchdog: {stall_s: 100, chunk_deadline_s: 150, inference_deadline_s: 0.3}")
    words = ["--train-stage", "none", *checkpoint_options(passing)]
    session = run_pytest(project, "validation", "-m", "smoke", *words)
    assert session.exit_status == 1, session.output
    assert session.found("G1")[0] == "FAIL"


CRASH = '''

@pytest.fixture(autouse=True, scope="session")
def a_picture_folder_that_vanishes(closed_loop):
    """After the run was prepared, a file takes the place of inference_results/."""
    closed_loop.prepare()
    folder = closed_loop.context.layout.inference_results
    folder.rmdir()
    folder.write_text("in the way")
'''
