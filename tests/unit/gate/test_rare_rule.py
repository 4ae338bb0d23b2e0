"""The clauses of G6 on rare events, displays and extra objects, each at its limit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.gate_evidence import objects
from tinyworlds_gate.gate.object_rule import judge_objects, meets
from tinyworlds_gate.names import FAIL, PASS

LEAST = 0.9
SIZE = {"colour": "#9a5a29", "height_px": 4, "width_px": 6}


def rare(**changes: Any) -> dict[str, Any]:
    row = {"what": "turn up or down", "events": 12, "episodes": 9, "found": 0, "generated": 1, "high": 0.45}
    return objects() | {"rare": [row | changes]}


def extra(**changes: Any) -> dict[str, Any]:
    row = SIZE | {"extra": 30, "episodes": 5, "precision": 0.1, "precision_high": 0.79}
    return objects() | {"extras": [row | changes]}


@pytest.mark.requirement("G6")
def test_events_that_a_model_never_has_fail_by_name() -> None:
    verdict, reason = judge_objects(rare(), LEAST)
    assert verdict == FAIL
    assert "objects that turn up or down: 0 of 12 are found, and the generated frames have 1 of their own" in reason
    assert not meets(rare(), LEAST)
    assert judge_objects(rare(high=0.46), LEAST)[0] == PASS


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("changes", [{"events": 4}, {"episodes": 4}], ids=["four events", "four episodes"])
def test_too_few_events_are_not_judged_and_the_reason_says_so(changes: dict[str, int]) -> None:
    verdict, reason = judge_objects(rare(**changes), LEAST)
    assert verdict == PASS
    count = changes.get("events", 12)
    assert reason.endswith(f"; not judged: {count} that turn up or down (fewer than 5 in 5 episodes)")


@pytest.mark.requirement("G6")
def test_a_kind_is_named_unless_its_event_fails_for_all_kinds() -> None:
    of_kind = rare(**SIZE)
    name = "objects of about 6 x 4 px, colour about #9a5a29, that turn up or down"
    assert name in judge_objects(of_kind, LEAST)[1]
    both = of_kind | {"rare": [*rare()["rare"], *of_kind["rare"]]}
    assert name not in judge_objects(both, LEAST)[1]


@pytest.mark.requirement("G6")
def test_a_display_is_named_by_its_place() -> None:
    place = {"top_px": 96, "left_px": 8, "height_px": 32, "width_px": 120, "what": "change on a display"}
    assert (
        "changes of the display of 120 x 32 px at column 8, row 96: 0 of 12" in judge_objects(rare(**place), LEAST)[1]
    )
    few = judge_objects(rare(**place, events=2), LEAST)[1]
    assert "not judged: 2 that change on a display" in few


@pytest.mark.requirement("G6")
def test_a_kind_of_extra_objects_is_judged_by_its_own_precision() -> None:
    verdict, reason = judge_objects(extra(), LEAST)
    assert verdict == FAIL
    assert "30 times objects of about 6 x 4 px, colour about #9a5a29 are generated where the true frames" in reason
    for passing in ({"precision_high": 0.8}, {"episodes": 4}, {"precision_high": None}):
        assert judge_objects(extra(**passing), LEAST)[0] == PASS
    verdict, reason = judge_objects(extra(extra=29), LEAST)
    assert verdict == PASS
    assert reason.endswith("; not judged: 29 extra objects of one kind (fewer than 30 of a kind)")


def test_a_record_of_an_older_version_has_no_rare_events() -> None:
    assert judge_objects(objects(), LEAST)[0] == PASS
