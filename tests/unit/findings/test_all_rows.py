"""Every row holds in a run that did its thing, and breaks when the thing itself is broken; the page lists both.

pytest tests/unit/findings/test_all_rows.py
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.finding_events import good_training
from tests.helpers.row_cases import ROW_CASES
from tests.helpers.row_runs import NOTHING_BROKEN, PAGE, Breaks, RowRun
from tinyworlds_gate.findings.base import Finding
from tinyworlds_gate.findings.reporting import RunFiles
from tinyworlds_gate.findings.rows import judge_row, judge_rows, rejudged
from tinyworlds_gate.reports.requirements import ADDED, REQUIREMENTS

NO_OCCASION = {"T7", "H8", "P3"}
"""What does not happen in the run that the others share."""
KEPT = REPOSITORY / "docs" / "results" / "longrun"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Breaks], RowRun]:
    """The run of each kind of break, made once."""
    runs: list[tuple[Breaks, RowRun]] = []

    def make(breaks: Breaks) -> RowRun:
        known = next((run for known, run in runs if known is breaks or known == breaks), None)
        if known is None:
            known = RowRun(tmp_path_factory.mktemp("run") / "project", breaks)
            runs.append((breaks, known))
        return known

    return make


def copied(run: RowRun, root: Path) -> RowRun:
    """The same run in another folder, to break it."""
    shutil.copytree(run.root, root)
    other = copy.copy(run)
    other.root, other.folder, other.events = root, root / "results" / run.run, copy.deepcopy(run.events)
    return other


def test_every_requirement_has_a_case() -> None:
    assert set(ROW_CASES) == set(REQUIREMENTS)


def test_one_run_has_an_occasion_for_every_other_requirement(made: Callable[[Breaks], RowRun]) -> None:
    rows = made(NOTHING_BROKEN).rows()
    assert list(rows) == list(REQUIREMENTS)
    assert {id: one for id, one in rows.items() if one.verdict != "PASS" and id not in NO_OCCASION} == {}
    assert all(rows[id].had_no_occasion for id in NO_OCCASION)


@pytest.mark.parametrize("id", list(REQUIREMENTS))
def test_a_row_holds_and_breaks_with_the_thing_itself(
    id: str, made: Callable[[Breaks], RowRun], tmp_path: Path
) -> None:
    case = ROW_CASES[id]
    held = made(case.whole).rows()[id]
    assert held.verdict == case.held, held
    run = made(case.breaks)
    if case.after is not None:
        run = copied(run, tmp_path / "project")
        case.after(run)
    broken = run.rows()[id]
    assert broken.verdict == case.verdict, broken
    assert broken.reason != held.reason


def test_with_three_chunks_and_two_retrainings_the_rows_count_all_of_them(made: Callable[[Breaks], RowRun]) -> None:
    """The figures of rows that once were judged before the retraining."""
    rows = made(NOTHING_BROKEN).rows()
    assert rows["P1"].reason.startswith("9 chunk(s) used the resolved values")
    assert rows["H9"].reason.startswith("5 retune(s) and 1 retraining(s) at learning rate 0.0005; effective batch: ")
    assert rows["H7"].reason.startswith("9 chunk(s); continued at the absolute update: chunk 3 (video_tokenizer)")
    assert rows["H7"].reason.endswith("chunk 9 (dynamics) at update 4000")


def test_a_second_process_beside_the_retry_breaks_the_rows_of_the_launcher_once(
    made: Callable[[Breaks], RowRun], tmp_path: Path
) -> None:
    run = copied(made(NOTHING_BROKEN), tmp_path / "project")
    after = ROW_CASES["L2"].after
    assert after is not None
    after(run)
    rows = run.rows()
    assert rows["L2"].reason == "chunk 9 (dynamics): a second launcher, PID 9, was left alone"
    assert (rows["L2"].follows_from, rows["H5"].follows_from) == (None, "L2")


def test_one_failed_gate_is_one_cause(made: Callable[[Breaks], RowRun]) -> None:
    rows = made(ROW_CASES["G5"].breaks).rows()
    broken = {id: one.follows_from for id, one in rows.items() if one.is_broken}
    assert broken == {"G5": None, "G8": "G5", "H3": "G5", "L8": "G5"}
    assert "no further retraining: the final verdict was taken" in rows["L8"].reason


@pytest.mark.parametrize("name", ["longrun-crafter-seed0", "longrun-crafter-seed1"])
def test_a_kept_journal_of_an_older_version_still_has_all_rows(name: str) -> None:
    lines = (KEPT / name / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    rows = {one.id: one for one in judge_rows(events)}
    assert {id for id, one in rows.items() if one.verdict != "PASS" and not one.had_no_occasion} == {"M4"}
    recorded = {event["id"]: event["reason"] for event in events if event["event"] == "requirement"}
    for id in ("P3", "P4", "C4", "A1", "A8", "H4"):
        assert rows[id].reason == recorded[id], "the journal lacks the fact, so the recorded row stays"
    assert set(rejudged(events, None)) == set(REQUIREMENTS) - {"M4", *ADDED}


def test_a_row_that_was_left_out_stays_as_it_was_recorded(made: Callable[[Breaks], RowRun], tmp_path: Path) -> None:
    run = copied(made(NOTHING_BROKEN), tmp_path / "project")
    out = "its test was deselected by the person who ran this"
    run.add("requirement", id="L1", test="t", verdict="NOT-RUN", reason=out, evidence=None)
    run.add(
        "requirement",
        id="L2",
        test="t",
        verdict="FAIL",
        reason="the test itself broke at x.py:1: KeyError",
        evidence=None,
    )
    run.add("requirement", id="H9", test="t", verdict="PASS", reason="0 retune(s)", evidence=None)
    again = rejudged(run.events, RunFiles(run.root, run.folder, run.root / PAGE))
    assert set(again) == {"H9"}
    assert again["H9"].reason.startswith("5 retune(s)")


def test_a_journal_that_lacks_a_fact_and_its_row_says_which() -> None:
    events = [{"seq": 0, "event": "run_started", "options": {}}, {"seq": 1, "event": "config_checked", "checks": []}]
    expected = Finding("P3", "NOT-RUN", "the journal does not record the values of the shipped profiles")
    assert judge_row("P3", events) == expected
    assert judge_row("A1", events).reason == "the journal does not record its files"


CHUNKS = ("chunk_started", "chunk_finished")
RETUNES = ("retune", "dynamics_retrain")
INFERENCE = ("inference_started", "inference_finished", "gate_verdict", "checkpoints_checked")
OCCASIONS: dict[str, tuple[str, ...]] = {
    "L1": ("stale_processes",),
    "L4": ("git_evidence",),
    "L8": RETUNES,
    "L9": ("wandb_analysis",),
    **dict.fromkeys(("C1", "C2", "C3", "P3", "P4"), ("config_checked",)),
    **dict.fromkeys(("L2", "L3", "L5", "H5", "H6", "P1", "P2", "S4", "M1", "M2", "M3", "H1", "H2", "H7"), CHUNKS),
    **dict.fromkeys(("S1", "S2", "S3", "S5"), ("stage_gate",)),
    **dict.fromkeys(("T1", "T2", "T3", "T4", "T5", "T6", "H8", "H9"), RETUNES),
    **dict.fromkeys(("T7", "L6", "L7", "C4", "G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "H3", "A7"), INFERENCE),
    "G9": ("baseline_compared",),
}
"""Requirement → the events of which a run without an occasion has none; the others have files as their occasion."""


@pytest.mark.parametrize("id", list(REQUIREMENTS))
def test_no_row_is_a_pass_without_its_occasion(id: str, made: Callable[[Breaks], RowRun], tmp_path: Path) -> None:
    run = made(NOTHING_BROKEN)
    occasion = OCCASIONS.get(id, ())
    events = [one for one in run.events if one["event"] not in occasion]
    empty = tmp_path / "results" / run.run
    empty.mkdir(parents=True)
    whole, nothing = RunFiles(run.root, run.folder, run.root / PAGE), RunFiles(tmp_path, empty, tmp_path / "page.html")
    assert judge_row(id, events, whole if occasion else nothing).verdict not in ("PASS", "DEGRADED")
    alone = judge_row(id, [one for one in run.events if one["event"] == "run_started"], RunFiles(tmp_path, empty))
    assert alone.verdict not in ("PASS", "DEGRADED"), alone


def test_a_run_that_passes_at_once_has_no_pass_for_what_did_not_happen() -> None:
    rows = {one.id: one for one in judge_rows(good_training())}
    nothing = {"T1", "T2", "T3", "T4", "T5", "T6", "T7", "L8", "H8", "H9", "P3", "P4", "H4"}
    assert {id: rows[id].verdict for id in nothing} == dict.fromkeys(nothing, "NOT-RUN")
