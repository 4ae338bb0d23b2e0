"""One update per stage FAILS the gate: the same run that passes when it trains (issue: "must pass 0.03 honestly")."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.helpers.config_files import copy_profile
from tests.helpers.tiny_project import PROFILE, STAGES, Session, make_project, run_pytest


@pytest.fixture(scope="module")
def one_update(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The whole loop on two gloo workers, with one update of each stage."""
    project = make_project(tmp_path_factory.mktemp("one") / "project")
    return run_pytest(project, "validation", "-m", "smoke", "--target-updates", "1", "--nproc-per-node", "2")


@pytest.mark.slow
@pytest.mark.requirement("G5", "H3")
def test_one_update_per_stage_fails_the_gate(one_update: Session) -> None:
    assert one_update.exit_status == 1, one_update.output
    chunks = one_update.events("chunk_started")
    assert [(chunk["stage"], chunk["end_update"]) for chunk in chunks] == [(stage, 1) for stage in STAGES]
    (verdict,) = one_update.events("gate_verdict")
    assert verdict["verdict"] == "FAIL"
    assert verdict["measures"]["mse"] > 0.1
    assert one_update.found("G5")[0] == "FAIL"


@pytest.mark.slow
@pytest.mark.requirement("P2", "L2")
def test_two_workers_took_the_update_of_every_stage_together(one_update: Session) -> None:
    chunks = one_update.events("chunk_finished")
    assert [[worker["rank"] for worker in chunk["workers"]] for chunk in chunks] == [[0, 1]] * 3
    assert all(len({worker["pid"] for worker in chunk["workers"]}) == 2 for chunk in chunks)
    assert {chunk["effective_batch"] for chunk in one_update.events("chunk_started")} == {32}


@pytest.mark.slow
@pytest.mark.requirement("T7")
def test_a_tokenizer_above_the_threshold_is_not_answered_by_training_dynamics(one_update: Session) -> None:
    assert one_update.events("dynamics_retrain") == []
    reason = one_update.output.partition("no retraining: ")[2].partition("\n")[0]
    assert "tokenizer" in reason
    assert "0.03" in reason
    assert one_update.found("T7")[0] == "PASS"


@pytest.mark.slow
@pytest.mark.requirement("G5", "H3")
def test_one_update_per_stage_fails_the_gate_of_the_real_smoke_profile(project: Path) -> None:
    """As a user does it: a copy of the profile's folder with stage gates that let everything through."""
    folder = copy_profile("smoke", project / "configs/profiles/lenient")
    profile = yaml.safe_load((folder / "profile.yaml").read_text())
    profile["name"] = "lenient"
    profile["thresholds"]["stage_gates"] = yaml.safe_load(PROFILE)["thresholds"]["stage_gates"]
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
    words = ["--profile", "lenient", "--target-updates", "1", "--max-inference-retries", "0"]
    session = run_pytest(project, "validation", "-m", "smoke", *words, timeout_s=500)
    assert session.exit_status == 1, session.output
    (verdict,) = session.events("gate_verdict")
    assert verdict["verdict"] == "FAIL"
    assert verdict["thresholds"]["max_mse"] == 0.03
    assert verdict["measures"]["mse"] > 0.03
    assert session.events("dataset_ready")[0]["name"] == "CRAFTER"
