"""The gate fails until the budget of retries is spent: the failure names every attempt, reports say FAIL (T5, H3)."""

from __future__ import annotations

import re

import pytest

from tests.helpers.tiny_project import Session
from tests.loop.test_retrained_loop import GATE_TEST

ATTEMPT = r"attempt {number} \(dynamics checkpoint dynamics_step_{step}\): FAIL: the rollout error 0\.\d+ is above the"


@pytest.mark.slow
@pytest.mark.requirement("T5", "H3")
def test_a_spent_budget_makes_pytest_exit_1(spent: Session) -> None:
    assert spent.exit_status == 1, spent.output
    assert [event["verdict"] for event in spent.events("gate_verdict")] == ["FAIL"] * 3
    assert "the budget of 2 retries is spent (--max-inference-retries)" in spent.output
    assert spent.events("run_finished")[0]["status"] == "failed"
    assert spent.found("H3")[0] == spent.found("L8")[0] == spent.found("G5")[0] == "FAIL"


@pytest.mark.slow
@pytest.mark.requirement("T5")
def test_the_failure_message_holds_every_attempt_and_the_log(spent: Session) -> None:
    (case,) = [case for case in spent.cases() if case.get("name") == GATE_TEST]
    failure = case.find("failure")
    assert failure is not None
    for where in (failure.text or "", spent.output.partition("= FAILURES =")[2], spent.page.read_text("utf-8")):
        for number, step in ((1, 1), (2, 2), (3, 3)):
            assert re.search(ATTEMPT.format(number=number, step=step), where)
        assert "logs/inference_03.log" in where


@pytest.mark.slow
@pytest.mark.requirement("T5")
def test_the_learning_rate_decays_from_retry_to_retry(spent: Session) -> None:
    retries = spent.events("dynamics_retrain")
    assert [(event["retry"], event["from_update"], event["to_update"]) for event in retries] == [(0, 2, 3), (1, 3, 4)]
    assert [event["learning_rate"] for event in retries] == pytest.approx([2e-3, 1.4e-3])


@pytest.mark.slow
@pytest.mark.requirement("H4", "L10")
def test_the_reports_of_a_failed_run_are_written_and_say_fail(spent: Session) -> None:
    for id in ("A1", "A5"):
        assert "**Verdict: FAIL**" in spent.report(id), id
    assert "0.03" in spent.report("A1")
    assert "is missing" not in spent.output


@pytest.mark.slow
@pytest.mark.requirement("A8")
def test_the_page_shows_two_retrained_rows_and_one_failed(spent: Session) -> None:
    assert [result for result, _ in spent.page_rows(GATE_TEST)] == ["Rerun", "Rerun", "Failed"]


@pytest.mark.slow
def test_models_of_checkpoint_options_are_used_and_only_dynamics_is_trained(spent: Session, passing: Session) -> None:
    assert {chunk["stage"] for chunk in spent.events("chunk_started")} == {"dynamics"}
    given = passing.events("inference_finished")[0]["checkpoints"]
    used = spent.events("inference_finished")[0]["checkpoints"]
    for stage in ("video_tokenizer", "latent_actions"):
        assert used[stage]["sha256"] == given[stage]["sha256"]
    assert spent.found("H1") == ("NOT-RUN", "by choice (--train-stage dynamics): the whole pipeline was not requested")
    reason = "by choice (--train-stage dynamics): not trained: the checkpoint video_tokenizer_step_119 was given"
    assert spent.found("S1") == ("NOT-RUN", reason)


@pytest.mark.slow
def test_the_same_reason_is_not_reported_twice_in_a_line(spent: Session) -> None:
    assert "FAIL: FAIL" not in spent.output
