"""A recorded verdict is compared with the one that its files give: word, conditions, numbers, sentence (pure)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.gate_evidence import evidence
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.conditions import Condition
from tinyworlds_gate.gate.verdict import judge_inference
from tinyworlds_gate.loop.same_verdict import differences, same_text

EVIDENCE = evidence()
AGAIN = judge_inference(EVIDENCE, GateThresholds(min_episodes=None))
Event = dict[str, Any]


def recorded() -> Event:
    """The verdict as it comes back from the journal."""
    assert EVIDENCE.measures is not None
    event: Event = {"measures": EVIDENCE.measures.as_dict(), **AGAIN.as_event()}
    back: Event = json.loads(json.dumps(event).replace("NaN", "null"))
    return back


def found(event: Event, **options: Any) -> list[str]:
    return differences(event, AGAIN, EVIDENCE.measures, **{"same_code": True, **options})


def test_the_same_verdict_has_no_difference_under_the_same_and_under_other_code() -> None:
    assert found(recorded()) == []
    assert found(recorded(), same_code=False) == []


def condition_turned(event: Event) -> None:
    event["conditions"][-1]["verdict"] = "FAIL"


def condition_gone(event: Event) -> None:
    del event["conditions"][-1]


def one_step_lowered(event: Event) -> None:
    event["measures"]["mse_by_step"][0] /= 2


EDITS: list[tuple[Callable[[Event], object], str]] = [
    (lambda event: event.update(verdict="FAIL"), "now give another verdict: PASS"),
    (condition_turned, "now give another verdict: PASS"),
    (condition_gone, "now give another verdict: PASS"),
    (lambda event: event["measures"].update(skill=0.99), "give other numbers than the journal: skill was 0.99, now "),
    (lambda event: event["measures"].update(clips=4096), "clips was 4096, now "),
    (lambda event: event["measures"].update(mse=None), "mse was null, now "),
    (lambda event: event["measures"].update(better=1), "better was 1, now null"),
    (one_step_lowered, "mse_by_step was "),
    (lambda event: event.update(sentence=event["sentence"].replace("0.0", "0.1", 1)), "give another sentence than the"),
]


@pytest.mark.parametrize(("edit", "said"), EDITS)
def test_each_edit_of_a_recorded_verdict_is_a_difference(edit: Callable[[Event], object], said: str) -> None:
    event = recorded()
    edit(event)
    (clause,) = found(event)
    assert said in clause


def test_other_code_is_held_to_the_conditions_and_numbers_that_both_know() -> None:
    event = recorded()
    event["conditions"].append({"id": "G99", "verdict": "PASS", "reason": "a newer or older one"})
    event["measures"]["another"] = 1
    event["sentence"] = "PASS: said in other words"
    assert found(event, same_code=False) == []
    event["verdict"] = "FAIL"
    assert found(event, same_code=False), "the word contradicts its own conditions"
    event = recorded()
    event["measures"]["mse"] /= 2
    assert found(event, same_code=False)
    event = recorded()
    condition_turned(event)
    assert found(event, same_code=False)


def test_custom_conditions_that_only_one_side_has_are_left_to_the_binding() -> None:
    more = replace(AGAIN, conditions=[*AGAIN.conditions, Condition("G5.drift", "FAIL", "it drifts")])
    assert differences(recorded(), more, EVIDENCE.measures, same_code=True, other={"G5.drift"}) == []
    assert differences(recorded(), more, EVIDENCE.measures, same_code=True) != []


@pytest.mark.parametrize(
    ("was", "now", "same"),
    [
        ("error 0.0185 on 64 clips", "error 0.0186 on 64 clips", True),
        ("error 0.0185 on 64 clips", "error 0.0187 on 64 clips", False),
        ("error 0.0185 on 64 clips", "error 0.0185 on 65 clips", False),
        ("error 0.0185 on 64 clips", "error 0.018 on 64 clips", False),
        ("error 0.0185 on 64 clips", "error 0.0185 on 64 held-out clips", False),
    ],
)
def test_sentences_are_the_same_up_to_the_last_digit_of_a_decimal_number(was: str, now: str, same: bool) -> None:
    assert same_text(was, now) is same
