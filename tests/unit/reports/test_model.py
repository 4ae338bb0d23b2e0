"""The record that reports are written from: a journal read whole, torn, contradictory or of another version.

Run: pytest tests/unit/reports/test_model.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.journal_samples import (
    SAMPLES,
    SampleRun,
    failing,
    interrupted,
    passing,
    passing_after_retry,
    single_stage,
)
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.reports.model import RunRecord, build_record, load_record, without_verdict
from tinyworlds_gate.reports.render import render_all


def record_of(run: SampleRun) -> RunRecord:
    return load_record(run.root, run.folder)


@pytest.mark.parametrize(
    ("sample", "verdict"),
    [
        ("passing", "PASS"),
        ("passing_after_retry", "PASS"),
        ("failing", "FAIL"),
        ("tokenizer_floor", "FAIL"),
        ("degraded", "DEGRADED"),
        ("interrupted", "INVALID"),
        ("teacher_forced", "PASS"),
        ("no_training", "FAIL"),
        ("single_stage", "PASS"),
        ("failed_stage", "FAIL"),
    ],
)
def test_each_kind_of_run_gets_its_verdict(tmp_path: Path, sample: str, verdict: str) -> None:
    assert record_of(SAMPLES[sample](tmp_path)).verdict()[0] == verdict


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("PASS: the error is 0.02.", "the error is 0.02."),
        ("PASS (stage dynamics): the error.", "Stage dynamics: the error."),
        ("PASS, teacher-forced: not a strict pass. It", "Teacher-forced: not a strict pass. It"),
        ("PASS (stage dynamics), teacher-forced: not", "Stage dynamics, teacher-forced: not"),
        ("The gate passed.", "The gate passed."),
        ("FAIL: the error", "FAIL: the error"),
    ],
)
def test_the_sentence_beside_a_verdict_does_not_repeat_it(sentence: str, shown: str) -> None:
    assert without_verdict(sentence, "PASS") == shown


@pytest.mark.requirement("H3")
def test_a_pass_without_a_gate_verdict_is_a_contradiction_only_where_the_gate_was_requested(tmp_path: Path) -> None:
    run = single_stage(tmp_path / "stage")
    assert record_of(run).verdict() == (
        "PASS",
        "Stage video_tokenizer: its gate decided continue. The inference gate was not requested.",
    )
    whole = SampleRun(tmp_path / "whole").prepare().train().finish("passed")
    assert record_of(whole).verdict()[0] == "INVALID"
    assert "holds no inference gate verdict" in record_of(whole).verdict()[1]


def test_an_interrupted_run_says_what_it_was_doing(tmp_path: Path) -> None:
    assert record_of(interrupted(tmp_path)).verdict() == (
        "INVALID",
        "The run was interrupted (SIGINT) while dynamics trained (chunk 3).",
    )


def test_an_interrupted_run_that_came_to_its_end_says_what_it_was_doing_too(tmp_path: Path) -> None:
    run = interrupted(tmp_path)
    run.finish("interrupted", "The run was interrupted before its end; nothing is claimed.")
    assert record_of(run).verdict()[1] == (
        "The run was interrupted before its end; nothing is claimed. SIGINT came while dynamics trained (chunk 3)."
    )


@pytest.mark.requirement("L10")
def test_reports_can_be_rendered_from_a_journal_that_stops_after_any_event(tmp_path: Path) -> None:
    run = passing_after_retry(tmp_path)
    steps = [i for i, event in enumerate(run.events) if event["event"] != "requirement"]
    for stop in steps[:-1]:
        record = build_record(tmp_path, run.folder, run.events[: stop + 1])
        texts = render_all(record, "now")
        assert record.verdict()[0] == "INVALID", run.events[stop]["event"]
        assert texts["A1"][0].startswith("# From training to inference\n\n**Verdict: INVALID** — "), run.events[stop]


def test_a_journal_that_claims_a_pass_without_a_gate_verdict_is_invalid(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train().finish("passed", "All is well.")
    verdict, sentence = record_of(run).verdict()
    assert verdict == "INVALID"
    assert "claims passed, but holds no inference gate verdict" in sentence


@pytest.mark.requirement("H3")
def test_a_journal_that_claims_a_pass_after_a_failed_gate_is_invalid(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train().infer(1, 0.04).finish("passed", "All is well.")
    verdict, sentence = record_of(run).verdict()
    assert verdict == "INVALID"
    assert "a gate verdict of FAIL" in sentence


@pytest.mark.requirement("H3", "L8")
def test_a_journal_that_claims_a_pass_after_retraining_without_a_final_verdict_is_invalid(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train().infer(1, 0.0341).retrain(0, 5e-4).infer(2, 0.0262)
    verdict, sentence = record_of(run.finish("passed", "All is well.")).verdict()
    assert verdict == "INVALID"
    assert "attempt 2 passed after retraining, but no final verdict was taken on a second draw" in sentence


def test_a_failed_attempt_keeps_its_own_row_beside_the_later_pass(tmp_path: Path) -> None:
    attempts = record_of(passing_after_retry(tmp_path)).attempts
    verdicts = [(a.name, (a.verdict or {}).get("verdict")) for a in attempts]
    assert verdicts == [("attempt 1", "FAIL"), ("attempt 2", "PASS"), ("attempt 2, final draw", "PASS")]
    assert (attempts[0].retrain, (attempts[1].retrain or {}).get("retry")) == (None, 0)


def test_the_worst_of_the_tests_that_carry_an_id_is_its_verdict(tmp_path: Path) -> None:
    run = SampleRun(tmp_path)
    for test, verdict in [("a", "PASS"), ("b", "FAIL"), ("c", "NOT-RUN")]:
        run.add("requirement", id="G5", test=test, verdict=verdict, reason=f"reason {test}", evidence=None)
    row = next(row for row in record_of(run).requirements() if row.id == "G5")
    assert (row.verdict, row.reason, row.tests) == ("FAIL", "reason b", ("b", "c", "a"))


def test_a_test_that_ran_again_counts_with_its_last_verdict(tmp_path: Path) -> None:
    run = SampleRun(tmp_path)
    for verdict in ("FAIL", "PASS"):
        run.add("requirement", id="G5", test="a", verdict=verdict, reason=verdict, evidence=None)
    assert next(row for row in record_of(run).requirements() if row.id == "G5").verdict == "PASS"


def test_a_requirement_without_any_test_is_not_run_and_no_pass(tmp_path: Path) -> None:
    run = passing(tmp_path / "a").events
    assert run
    record = record_of(SampleRun(tmp_path / "b").prepare().require(skip=("T6",)))
    row = next(row for row in record.requirements() if row.id == "T6")
    assert (row.verdict, row.reason) == ("NOT-RUN", "No test of this run reported it.")


def test_a_resumed_run_is_judged_by_what_came_after_its_last_start(tmp_path: Path) -> None:
    run = interrupted(tmp_path)
    run.add("run_started", **{k: v for k, v in run.events[0].items() if k not in ("seq", "time", "event")})
    assert record_of(run).status == "unfinished"
    run.train("dynamics").infer(1, 0.02).finish("passed", "Passed after a resume.")
    assert record_of(run).verdict() == ("PASS", "Passed after a resume.")


def test_a_journal_of_another_schema_is_refused(tmp_path: Path) -> None:
    run = SampleRun(tmp_path, schema=2)
    with pytest.raises(GateError, match="has schema 2; this version reads schema 1"):
        record_of(run)


def test_a_journal_without_its_start_is_refused(tmp_path: Path) -> None:
    events = failing(tmp_path).events[1:]
    with pytest.raises(GateError, match="does not start with `run_started`"):
        build_record(tmp_path, tmp_path / "results" / "x", events)


def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="No journal at"):
        load_record(tmp_path, tmp_path)
