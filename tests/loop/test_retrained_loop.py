"""The first attempt fails, dynamics is retrained, the second passes at an unchanged threshold (T5, L8)."""

from __future__ import annotations

import csv
import re

import pytest

from tests.helpers.tiny_project import Session
from tinyworlds_gate.checkpoints import gated_checkpoints

GATE_TEST = "test_the_rollout_passes_the_inference_gate"


@pytest.mark.requirement("L8", "T5", "H3")
def test_a_retried_gate_that_passes_is_a_pass(retrained: Session) -> None:
    assert retrained.exit_status == 0, retrained.output
    verdicts = retrained.events("gate_verdict")
    assert [verdict["verdict"] for verdict in verdicts] == ["FAIL", "PASS"]
    assert retrained.found("L8")[0] == retrained.found("T5")[0] == "PASS"
    assert retrained.events("run_finished")[0]["status"] == "passed"


@pytest.mark.requirement("G5")
def test_the_threshold_is_the_same_in_both_attempts(retrained: Session) -> None:
    first, second = retrained.events("gate_verdict")
    assert first["thresholds"] == second["thresholds"]
    assert first["thresholds"]["max_mse"] == 0.03
    assert first["measures"]["mse"] > 0.1 > 0.03 > second["measures"]["mse"]
    assert first["measures"]["clip_digest"] == second["measures"]["clip_digest"]


@pytest.mark.requirement("L8")
def test_the_terminal_shows_the_retraining_and_both_attempts(retrained: Session) -> None:
    assert re.search(r"= 24 passed, 1 skipped, 1 retrained in ", retrained.output)
    assert re.search(rf"^(validation/\S+::{GATE_TEST} )?RETRAINED +\[", retrained.output, re.M)
    assert "retraining dynamics, retry 1: updates 4 to 124 at learning rate 0.002" in retrained.output
    assert re.search(r"^attempt 1: FAIL, MSE 0\.[12]", retrained.output, re.M)
    assert re.search(r"^attempt 2: PASS, MSE 0\.00", retrained.output, re.M)


@pytest.mark.requirement("L8")
def test_junit_counts_the_gate_once_and_tells_both_attempts(retrained: Session) -> None:
    (case,) = [case for case in retrained.cases() if case.get("name") == GATE_TEST]
    assert case.find("failure") is None
    attempts = {str(prop.get("name")): str(prop.get("value")) for prop in case.iter("property")}
    assert attempts["attempt 1"].startswith("FAIL: the rollout error 0.")
    assert "dynamics_step_3" in attempts["attempt 1"]
    assert attempts["attempt 2"].startswith("PASS: ")
    assert "dynamics_step_123" in attempts["attempt 2"]
    assert all(case.get("name") for case in retrained.cases())


@pytest.mark.requirement("L8", "A8")
def test_the_page_shows_the_failed_attempt_as_a_row_of_its_own(retrained: Session) -> None:
    page = retrained.page.read_text(encoding="utf-8")
    (first, log), (second, _) = retrained.page_rows(GATE_TEST)
    assert (first, second) == ("Rerun", "Passed")
    assert "attempt 1 (dynamics checkpoint dynamics_step_3): FAIL: the rollout error 0." in log
    assert re.search(r"1 Reruns?\b", page)
    assert re.search(r"24 Passed\b", page)


@pytest.mark.requirement("T5", "G2")
def test_the_second_attempt_used_the_new_dynamics_checkpoint_and_the_same_others(retrained: Session) -> None:
    first, second = (event["checkpoints"] for event in retrained.events("inference_finished"))
    assert (first["dynamics"]["step"], second["dynamics"]["step"]) == (3, 123)
    assert first["dynamics"]["sha256"] != second["dynamics"]["sha256"]
    assert first["video_tokenizer"] == second["video_tokenizer"]
    assert first["latent_actions"] == second["latent_actions"]
    log = (retrained.run / "logs" / "inference_02.log").read_text()
    assert f"Using dynamics checkpoint: {retrained.project / second['dynamics']['path']}" in log


@pytest.mark.requirement("S4", "G2")
def test_the_checkpoints_of_both_attempts_are_kept_from_pruning(retrained: Session) -> None:
    held = gated_checkpoints(retrained.run / "dynamics" / "checkpoints")
    assert {gate: path.name for gate, path in held.items()} == {
        "inference-1": "dynamics_step_3",
        "inference-2": "dynamics_step_123",
        "stage": "dynamics_step_123",
    }
    assert all(path.is_dir() for path in held.values())


@pytest.mark.requirement("T5", "H7")
def test_the_retraining_continues_at_the_absolute_update_in_one_chunk(retrained: Session) -> None:
    (event,) = retrained.events("dynamics_retrain")
    assert (event["retry"], event["from_update"], event["to_update"]) == (0, 4, 124)
    assert event["learning_rate"] == 2e-3
    assert "is above the limit 0.03" in event["reason"]
    (chunk,) = [chunk for chunk in retrained.events("chunk_started") if "retry" in chunk["reason"]]
    assert (chunk["stage"], chunk["start_update"], chunk["end_update"]) == ("dynamics", 4, 124)
    assert chunk["resumed_from"].endswith("dynamics_step_3")


@pytest.mark.requirement("T5", "P1")
def test_the_learning_rate_of_the_retry_is_the_one_of_the_ladder(retrained: Session) -> None:
    with (retrained.project / "Logs" / f"dynamics_history_{retrained.run.name}.csv").open(newline="") as file:
        rates = {int(row["_step"]): float(row["learning_rate/group_0"]) for row in csv.DictReader(file)}
    assert sorted(rates) == list(range(124))
    assert max(rates[step] for step in range(4)) == pytest.approx(3e-3)
    assert max(rates[step] for step in range(4, 124)) == pytest.approx(2e-3)
    assert rates[123] < 2e-4
    (chunk,) = [chunk for chunk in retrained.events("chunk_started") if "retry" in chunk["reason"]]
    assert chunk["param_sources"]["learning_rate"] == "retry 1 (T5)"
