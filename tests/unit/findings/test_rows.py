"""Which recorded rows are judged again, and which stay. ``pytest tests/unit/findings/test_rows.py``"""

from __future__ import annotations

import pytest

from tests.helpers.finding_events import NOTHING, Event, event, good_training, journal, started
from tinyworlds_gate.config.requested import OF_TRAINING
from tinyworlds_gate.findings.base import (
    DESELECTED,
    LEFT_OUT,
    NO_OCCASION,
    NOT_SELECTED,
    UNREACHED,
    UNSTATED,
    Finding,
)
from tinyworlds_gate.findings.rows import judge_row, judge_rows, recorded_row, rejudged
from tinyworlds_gate.reports.requirements import REQUIREMENTS


def required(id: str, verdict: str, reason: str) -> Event:
    return event("requirement", id=id, verdict=verdict, reason=reason)


def judged_again(*recorded: Event) -> dict[str, Finding]:
    """Judge a journal of four good chunks again, with these recorded rows."""
    return rejudged(journal(*good_training(), *recorded), None)


def test_each_requirement_has_one_row_in_the_order_of_the_specification() -> None:
    for events in (NOTHING, good_training()):
        assert [one.id for one in judge_rows(events)] == list(REQUIREMENTS)
    assert judge_row("T1", good_training()) == Finding("T1", "NOT-RUN", "no occasion: nothing was retuned")


@pytest.mark.parametrize("why", [*LEFT_OUT, f"{UNREACHED}: it was interrupted", "2 tests were deselected by -k"])
def test_a_row_whose_test_was_left_out_stays(why: str) -> None:
    assert {NOT_SELECTED, DESELECTED, UNREACHED, UNSTATED} < set(LEFT_OUT)
    assert judged_again(required("L5", "NOT-RUN", why)) == {}


@pytest.mark.parametrize("why", ["the test itself broke at x.py:1: KeyError", "the test passed"])
def test_a_row_whose_test_broke_or_reported_nothing_stays(why: str) -> None:
    assert judged_again(required("L5", "FAIL", why)) == {}
    assert set(judged_again(required("L5", "FAIL", f"a row in which {why}"))) == {"L5"}


def test_any_other_row_that_was_recorded_is_judged_again() -> None:
    found = judged_again(
        required("L5", "NOT-RUN", "training had not begun"),
        required("T1", "NOT-RUN", "nothing was retuned so far"),
        required("S1", "FAIL", "no chunk reached the stage gate"),
    )
    assert {id: one.verdict for id, one in found.items()} == {"L5": "PASS", "T1": "NOT-RUN", "S1": "PASS"}
    assert found["T1"].reason.startswith(NO_OCCASION)
    assert judged_again(required("H3", "NOT-RUN", "the run stopped earlier")) == {}, "it is still NOT-RUN"


def test_rows_of_training_have_no_occasion_only_where_every_stage_was_trained_before() -> None:
    before = event("stage_finished", stage="video_tokenizer", verdict="NOT-RUN", reason="it had its 10 updates")
    for more in ([], [started(1, "dynamics")]):
        rows = {one.id: one for one in judge_rows(journal(event("run_started"), before, *more))}
        found = {id: rows[id].reason.startswith(NO_OCCASION) for id in OF_TRAINING if rows[id].verdict == "NOT-RUN"}
        assert any(found.values())
        assert all(found.values()) is not bool(more)


def test_a_fact_that_the_journal_lacks_leaves_the_recorded_row_or_is_named() -> None:
    events = journal(event("run_started"), required("A1", "PASS", "it exists"), required("A1", "FAIL", "it is gone"))
    assert recorded_row(events, "A1", "its files") == Finding("A1", "FAIL", "it is gone")
    assert recorded_row(events, "A2", "its files") == Finding("A2", "NOT-RUN", "the journal does not record its files")
