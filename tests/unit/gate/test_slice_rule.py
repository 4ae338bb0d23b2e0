"""The clauses of G6 on concentrated faults, each at its limit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.gate_evidence import objects
from tinyworlds_gate.gate.object_rule import judge_objects, meets
from tinyworlds_gate.names import FAIL, PASS

LEAST = 0.9
BALL = {"colour": "#9a5a29", "height_px": 4, "width_px": 4}
RATES = {"of": "recall", "sightings": 126, "share": 0.0, "rest": 0.99, "high": 0.1}
SIDES = {"left_px": 0, "right_px": 15, "top_px": 0, "bottom_px": 63}
SINGLE = {"slice": "identity", "wrong_per_frame": 0.9, "clips": 40, "clips_with": 40, "spread": 0.2, "spread_high": 0.3}


def record(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return objects() | {"slices": [RATES | row for row in rows]} | changes


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            BALL | {"slice": "steps", "first": 11, "last": 12},
            "objects of about 4 x 4 px, colour about #9a5a29 in steps 11 to 12: 0 % of 126 found, 99 % in the steps "
            "beside them (at most 10 % of that; at least 75 % is required)",
        ),
        ({"slice": "steps", "first": 3, "last": 3}, "objects in step 3: 0 % of 126 found, 99 % in the steps beside it"),
        (
            {"slice": "every", "first": 6, "every": 6},
            "objects in every 6th step from step 6 on: 0 % of 126 found, 99 % in the other steps",
        ),
        ({"slice": "every", "first": 1, "every": 2}, "objects in every second step from step 1 on: "),
        (
            {"slice": "place", "outside": False} | SIDES,
            "objects in columns 0 to 15 and rows 0 to 63: 0 % of 126 found, 99 % in the rest of the frame",
        ),
        ({"slice": "place", "outside": True} | SIDES, "objects outside of columns 0 to 15 and rows 0 to 63: "),
        (
            {"slice": "kind", "colour": "#9a5a29"},
            "objects of colour about #9a5a29 in all steps: 0 % of 126 found, 99 % of the other objects",
        ),
        (
            {"slice": "kind", "height_px": 3, "width_px": 5, "of": "precision"},
            "objects of about 5 x 3 px in all steps: 0 % of 126 generated ones right, 99 % of the other objects",
        ),
    ],
    ids=["steps", "step", "6th", "second", "place", "edge", "colour", "size"],
)
def test_a_slice_fails_by_name_up_to_its_limit(row: dict[str, Any], says: str) -> None:
    verdict, reason = judge_objects(record(row), LEAST)
    assert verdict == FAIL
    assert says in reason
    assert not meets(record(row), LEAST)
    assert judge_objects(record(row | {"high": 0.75}), LEAST)[0] == PASS


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("of", "says"),
    [
        ("recall", "as many objects are not found in every clip: 0.9 in each frame, in 40 of 40 clips"),
        (
            "precision",
            "as many objects are shown where the true frames show nothing like them in every clip: 0.9 in each",
        ),
    ],
)
def test_single_objects_fail_up_to_the_limits_of_their_number_and_its_spread(of: str, says: str) -> None:
    row = SINGLE | {"of": of}
    verdict, reason = judge_objects(record(row), LEAST)
    assert verdict == FAIL
    assert says in reason
    for passing in ({"spread_high": 0.5}, {"wrong_per_frame": 0.49}):
        assert judge_objects(record(row | passing), LEAST)[0] == PASS


@pytest.mark.requirement("G6")
def test_the_slice_that_loses_most_is_named_alone() -> None:
    ball = BALL | {"slice": "steps", "first": 11, "last": 12}
    everything = {"slice": "steps", "first": 11, "last": 12, "sightings": 378, "share": 0.66, "high": 0.7}
    reason = judge_objects(record(everything, ball), LEAST)[1]
    assert "#9a5a29 in steps 11 to 12" in reason
    assert "objects in steps" not in reason


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(("of", "lower"), [("recall", {"recall_low": 0.8}), ("precision", {"precision_low": 0.7})])
def test_slices_are_named_where_the_average_is_fine(of: str, lower: dict[str, float]) -> None:
    row = {"slice": "steps", "first": 11, "last": 12, "of": of}
    assert "in steps 11 to 12" in judge_objects(record(row), LEAST)[1]
    assert "in steps 11 to 12" not in judge_objects(record(row, **lower), LEAST)[1]


def test_a_record_of_an_older_version_has_no_slices() -> None:
    assert judge_objects(objects(), LEAST)[0] == PASS
