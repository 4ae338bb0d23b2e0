"""Which process, condition and sentence of the inference gate a finding is taken from.

pytest tests/unit/findings/test_inference_edges.py
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.finding_events import NOTHING, Event, by_id, event, journal
from tinyworlds_gate.findings.base import Finding, MissingFactError
from tinyworlds_gate.findings.inference import (
    agreement,
    failed_condition,
    gate_conditions,
    gate_passed,
    inference_run,
    last_gate_conditions,
    objects,
    past,
    strongest_baseline,
)

IDS = ("G1", "G2", "G3", "G4", "G5")


def judged(attempt: int = 1, verdict: str = "PASS", broken: dict[str, str] | None = None, **changes: Any) -> Event:
    states = {**dict.fromkeys(IDS, "PASS"), **(broken or {})}
    conditions = [{"id": id, "verdict": state, "reason": f"{id} is {state}"} for id, state in states.items()]
    fields = {"draw": 1, "conditions": conditions, "sentence": f"{verdict}: sentence {attempt}"}
    return event("gate_verdict", **{"attempt": attempt, "verdict": verdict, **fields, **changes})


def inferred(attempt: int = 1, draw: int = 1, **changes: Any) -> list[Event]:
    return [
        event("inference_started", attempt=attempt, draw=draw),
        event("inference_finished", attempt=attempt, draw=draw, **{"exit_code": 0, "picture": "p", **changes}),
    ]


def reason(found: list[Finding], id: str) -> tuple[str, str]:
    one = by_id(found)[id]
    return one.verdict, one.reason


@pytest.mark.requirement("G1", "G4")
def test_an_attempt_is_its_last_process_and_its_last_verdict() -> None:
    crashed = inferred(exit_code=3, picture=None)
    for events, code in (([*crashed, *inferred()], None), ([*inferred(), *crashed], 3)):
        found = gate_conditions(journal(*events, *inferred(2, exit_code=9), judged()), 1)
        contradicted = ("INVALID", f"the condition holds (G1 is PASS), but the journal records exit code {code}")
        assert reason(found, "G1") == (("PASS", "G1 is PASS") if code is None else contradicted)
        assert reason(found, "G4")[0] == ("PASS" if code is None else "INVALID")
    older = journal(judged(), judged(verdict="FAIL", broken={"G2": "FAIL"}), judged(2))
    assert reason(gate_conditions(older, 1), "G2") == ("FAIL", "G2 is FAIL")
    assert [one.verdict for one in last_gate_conditions(older)] == ["PASS"] * 5
    unrecorded = gate_conditions(journal(event("inference_finished", attempt=1), judged()), 1)
    assert {one.verdict for one in unrecorded} == {"PASS"}
    assert [(one.id, one.verdict, one.reason) for one in last_gate_conditions(NOTHING)] == [
        (id, "NOT-RUN", "inference was not run") for id in IDS
    ]


@pytest.mark.requirement("G1", "G2", "G5")
@pytest.mark.parametrize(
    ("states", "found"),
    [
        ({"G5.a": "FAIL", "G5.b": "INVALID"}, ("INVALID", "G5.b is INVALID")),
        ({"G5.a": "FAIL", "G5.b": "NOT-RUN", "G5.c": "FAIL"}, ("FAIL", "G5.a is FAIL; G5.c is FAIL")),
        ({"G5.a": "NOT-RUN"}, ("PASS", "G5 is PASS; G5.a is NOT-RUN")),
        ({"G5": "NOT-RUN", "G50": "FAIL"}, ("NOT-RUN", "G5 is NOT-RUN")),
    ],
)
def test_the_worst_condition_of_a_requirement_counts(states: dict[str, str], found: tuple[str, str]) -> None:
    assert reason(gate_conditions(journal(judged(broken=states)), 1), "G5") == found


@pytest.mark.requirement("G1", "G2", "G5")
def test_what_follows_from_a_command_that_broke_off() -> None:
    found = by_id(gate_conditions(journal(judged(broken={"G1": "FAIL", "G2": "FAIL", "G5": "FAIL"})), 1))
    assert found["G2"] == Finding("G2", "FAIL", "G2 is FAIL")
    assert found["G4"] == Finding("G4", "PASS", "G4 is PASS")
    assert found["G5"] == Finding("G5", "FAIL", "follows from G1: G5 is FAIL", follows_from="G1")


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("measures", "limit", "said"),
    [
        ({"mse": 0.25}, 0.25, None),
        ({"mse": 0.26}, 0.25, "the measured error 0.26 is above max_mse 0.25"),
        ({"mse": 0.26}, None, None),
        ({"other": 1}, 0.25, None),
        (None, 0.25, None),
        ({"mse": float("-inf")}, 0.25, "the measured error is -inf"),
    ],
)
def test_the_measured_error_contradicts_g5_above_its_limit(
    measures: dict[str, float] | None, limit: float | None, said: str | None
) -> None:
    found = gate_conditions(journal(judged(measures=measures, thresholds={"max_mse": limit})), 1)
    held = ("PASS", "G5 is PASS")
    assert reason(found, "G5") == (
        held if said is None else ("INVALID", f"the condition holds (G5 is PASS), but {said}")
    )
    assert reason(gate_conditions(journal(judged(measures=measures, thresholds=None)), 1), "G5") == held


@pytest.mark.requirement("L6", "L7")
def test_every_attempt_is_named_by_its_number_and_draw() -> None:
    started = [event("inference_started", attempt=number, draw=draw) for number, draw in ((2, 1), (1, 3), (1, 1))]
    found = by_id(inference_run(journal(*started)))
    text = "; ".join(f"the inference run of attempt {name} did not finish" for name in ("1", "1, draw 3", "2"))
    assert found["L6"] == Finding("L6", "FAIL", text)
    assert found["L7"] == Finding("L7", "FAIL", f"follows from L6: {text}", follows_from="L6")
    bare: dict[str, Any] = {"conditions": [{"id": "G1", "verdict": "PASS", "reason": "a"}]}
    found = by_id(inference_run(journal(*inferred(log="x"), judged(**bare))))
    assert found["L6"] == Finding("L6", "PASS", "1 inference run(s) finished; the last log is x", "x")
    missing = "; ".join(f"the verdict of attempt 1 has no condition {id}" for id in ("G4", "G5"))
    assert found["L7"] == Finding("L7", "FAIL", missing, "p")
    unfinished = by_id(inference_run(journal(event("inference_started", attempt=1), judged())))
    assert unfinished["L7"] == Finding("L7", "PASS", "1 verdict(s) on picture and error; last: None")


@pytest.mark.requirement("H3")
def test_the_end_is_the_last_verdict_and_its_first_cause() -> None:
    assert gate_passed(journal(judged())) == Finding("H3", "PASS", "sentence 1")
    failed = journal(judged(verdict="FAIL", broken={"G2": "FAIL", "G5": "FAIL"}))
    assert gate_passed(failed) == Finding("H3", "FAIL", "follows from G2: sentence 1", follows_from="G2")
    uncaused = journal(judged(verdict="FAIL"))
    assert gate_passed(uncaused) == Finding("H3", "FAIL", "sentence 1")
    invalid = journal(judged(verdict="INVALID", broken={"G3": "INVALID"}))
    assert gate_passed(invalid) == Finding("H3", "FAIL", "follows from G3: INVALID: sentence 1", follows_from="G3")
    assert failed_condition(journal(judged())) is None
    first = failed_condition(journal(judged(broken={"G1": "FAIL", "G4": "FAIL"})))
    assert first == Finding("G1", "FAIL", "G1 is FAIL")


@pytest.mark.requirement("C4")
def test_the_check_of_the_checkpoints_names_every_reason() -> None:
    def checked(*verdicts: str) -> Event:
        checks = [{"verdict": verdict, "reason": f"{verdict} {n}"} for n, verdict in enumerate(verdicts)]
        return event(
            "checkpoints_checked", checks=checks, checkpoints={"dynamics": "d" * 64, "latent_actions": "e" * 64}
        )

    sizes = "sizes agree; the checkpoints that dynamics was trained on are unknown"
    shown = "(dynamics dddddddddddd, latent_actions eeeeeeeeeeee): PASS 0"
    for events in ([checked("PASS", "PASS")], [checked("PASS"), judged()]):
        assert agreement(journal(*events)) == Finding("C4", "PASS", f"{sizes} {shown}")
    broken = agreement(journal(checked("PASS", "INVALID", "FAIL"), judged()))
    assert broken == Finding("C4", "INVALID", "INVALID 1; FAIL 2")
    own = judged(broken={"C4": "PASS", "C4.a": "FAIL", "C4.b": "INVALID"})
    assert agreement(journal(checked("PASS"), own)) == Finding("C4", "FAIL", "C4.a is FAIL; C4.b is INVALID")
    with pytest.raises(MissingFactError, match="the check of the checkpoints against the configs"):
        agreement(journal(judged()))


@pytest.mark.requirement("G6", "G7", "G8")
def test_a_row_that_is_not_required_shows_what_was_measured() -> None:
    off = {"min_object_share": None, "min_past_ratio": None, "require_skill_strongest": False}
    record = {
        "no_occasion": None,
        "recall": 0.5,
        "recall_low": 0.4,
        "precision": 1.0,
        "precision_low": None,
        "sightings": 8,
    }
    measures: dict[str, Any] = {
        "objects": record,
        "past": {"no_occasion": None, "ratio": 1.5, "ratio_low": None},
        "skill_strongest": 0.5,
        "skill_strongest_low": None,
    }
    start = "no occasion: the profile does not require it"
    events = journal(judged(thresholds=off, measures=measures))
    assert objects(events).reason == (
        f"{start}; measured: 50 % of 8 found (95 % interval from 40 %), 100 % of the generated ones right (from "
        f"unknown)"
    )
    assert past(events).reason == (
        f"{start}; measured: with the context of another clip the error is typically 1.50 times the own one (no "
        f"interval)"
    )
    assert strongest_baseline(events).reason == start
