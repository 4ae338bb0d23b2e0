"""The rule of G6 on the record of the objects: each clause at its limit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.gate_evidence import objects
from tinyworlds_gate.gate.object_rule import judge_objects, meets
from tinyworlds_gate.names import FAIL, INVALID, NOT_RUN, PASS

LEAST = 0.9
PART = 0.8
"""What a part, a kind and the precision must reach."""


def label(**changes: Any) -> dict[str, Any]:
    became = {"tree": 2, "zombie": 7, "grass": 1}
    return {
        "kind": "cow",
        "sightings": 30,
        "episodes": 5,
        "recall": 0.5,
        "place_error": 0.0,
        "became": became,
    } | changes


def labelled(**changes: Any) -> dict[str, Any]:
    return objects() | {"labels": [label(recall=1.0), label(**changes)]}


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("changes", "fails"),
    [({}, True), ({"sightings": 29}, False), ({"episodes": 4}, False), ({"recall": PART}, False)],
    ids=["fails", "few sightings", "few episodes", "at the limit"],
)
def test_a_labelled_kind_is_judged_by_itself_from_thirty_sightings_in_five_episodes(
    changes: dict[str, Any], fails: bool
) -> None:
    record = labelled(**changes)
    verdict, reason = judge_objects(record, LEAST)
    assert verdict == (FAIL if fails else PASS)
    assert ("cow: 50 % of 30 found, 7 became zombie, 2 became tree" in reason) == fails
    assert meets(record, LEAST) != fails


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("behind", [0, 7])
def test_a_failure_of_the_precision_says_how_many_are_frozen(behind: int) -> None:
    record = objects(precision=0.7)
    record["mistakes"]["left_behind"] = behind
    verdict, reason = judge_objects(record, LEAST)
    assert verdict == FAIL
    assert ("frozen" in reason) == bool(behind)
    assert (" 7 " in reason) == bool(behind)


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(("recall", "verdict"), [(0.97, FAIL), (0.9699, PASS), (None, PASS)])
def test_the_recall_must_exceed_that_of_every_baseline(recall: float | None, verdict: str) -> None:
    rates = {"erased": {"recall": 0.0}, "constant_velocity": {"recall": recall}, "copy_last": {"recall": 0.2}}
    found, reason = judge_objects(objects() | {"baselines": rates}, LEAST)
    assert found == verdict
    assert ("no more than constant velocity finds (97 %)" in reason) == (verdict == FAIL)


@pytest.mark.requirement("G6")
@pytest.mark.parametrize(
    ("key", "limit", "says"),
    [
        ("recall_low", LEAST, "sightings are found in their place"),
        ("moved_recall_low", PART, "of those that moved since the context only"),
        ("precision_low", PART, "of the generated objects are right"),
    ],
)
def test_each_interval_must_reach_its_limit(key: str, limit: float, says: str) -> None:
    assert judge_objects(objects() | {key: limit}, LEAST)[0] == PASS
    for value in (limit - 0.001, None):
        verdict, reason = judge_objects(objects() | {key: value}, LEAST)
        assert verdict == FAIL
        assert says in reason


@pytest.mark.requirement("G6")
@pytest.mark.parametrize("key", ["recall_by_part", "precision_by_part"])
@pytest.mark.parametrize(("part", "name"), [(0, "first"), (1, "middle"), (2, "last")])
def test_each_third_of_the_rollout_must_reach_its_limit(key: str, part: int, name: str) -> None:
    for share, verdict in ((PART, PASS), (PART - 0.001, FAIL), (None, PASS)):
        shares: list[float | None] = [1.0] * 3
        shares[part] = share
        found, reason = judge_objects(objects() | {key: shares}, LEAST)
        assert found == verdict
        assert (f"in the {name} third of the rollout only" in reason) == (verdict == FAIL)


@pytest.mark.requirement("G6")
def test_of_many_kinds_five_are_named_and_the_others_counted() -> None:
    kind = {"colour": "#ff0000", "height_px": 4, "width_px": 4, "sightings": 40, "recall": 0.5, "missing": 20}
    kinds = [kind | {"displaced": 0, "replaced": number} for number in range(8)]
    extra = {"colour": "#00ff00", "height_px": 4, "width_px": 4, "extra": 50, "episodes": 9, "precision": 0.1}
    extras = [extra | {"precision_high": 0.2, "extra": 50 + number} for number in range(6)]
    verdict, reason = judge_objects(objects() | {"kinds": kinds, "extras": extras}, 0.9)
    assert verdict == FAIL
    assert reason.count("50 % of 40 found") == 5
    assert reason.count("times objects of about 4 x 4 px") == 5
    assert "and 3 more kinds like these" in reason
    assert "and 1 more kinds like these" not in reason
    assert "and one more kind like these" in reason
    few = judge_objects(objects() | {"kinds": kinds[:5]}, 0.9)[1]
    assert "more kind" not in few


def test_without_frames_or_occasion_there_is_no_judgement() -> None:
    assert judge_objects(None, LEAST)[0] == INVALID
    idle = objects() | {"no_occasion": "nothing moves"}
    assert judge_objects(idle, LEAST) == (NOT_RUN, "no occasion: nothing moves")
    assert not meets(idle, LEAST)
