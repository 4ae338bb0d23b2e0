"""BETTER, SAME, WORSE or NOT-COMPARABLE, on made-up scorecards.

pytest tests/unit/compare/test_comparison.py
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.unit.compare.cards import SETTINGS, made_card
from tinyworlds_gate.cli.score_models import plain
from tinyworlds_gate.compare.comparison import Comparison, compare
from tinyworlds_gate.compare.effects import Candidate, Difference, holm, levels
from tinyworlds_gate.compare.measures import CONTROL, ERROR, RECALL
from tinyworlds_gate.compare.same_clips import Entry
from tinyworlds_gate.compare.spread import Spread, default_spread
from tinyworlds_gate.gate.measures.intervals import jackknife
from tinyworlds_gate.gate.scorecard import Scorecard


def of_models(a: Scorecard, b: Scorecard) -> Comparison:
    return compare([[a]], [[b]], question="models")


def effect(found: Comparison, key: str) -> Any:
    return next(one for one in found.effects if one.key == key)


def test_a_larger_error_on_every_clip_is_worse_and_the_other_way_round_better() -> None:
    old, new = made_card(0, noise=0.02), made_card(1, factor=1.2, noise=0.02)
    worse, better = of_models(old, new), of_models(new, old)
    assert (worse.verdict, better.verdict) == ("WORSE", "BETTER")
    rise = effect(worse, "error")
    assert rise.change == pytest.approx(0.2, abs=0.02)
    assert 0 < rise.low < rise.change < rise.high
    assert effect(worse, "skill").verdict == "WORSE"
    assert "rose from 0.01" in worse.sentence
    assert "on the same 64 clips of 16 episodes" in worse.sentence


def test_the_seed_counts_for_recipes_and_not_for_models() -> None:
    old, new = made_card(0, noise=0.02), made_card(1, factor=1.1, noise=0.02)
    assert of_models(old, new).verdict == "WORSE"
    found = compare([[old]], [[new]])
    assert (found.question, found.verdict) == ("recipes", "SAME")
    assert found.visible_change is not None
    assert found.visible_change > 0.2
    assert "cannot be told from another seed" in found.sentence
    known = compare([[old]], [[new]], spread={"error": Spread(0.005, 30, "stated")})
    assert known.verdict == "WORSE"


def test_several_seeds_a_side_show_a_change_that_one_seed_does_not() -> None:
    old, new = (
        [[made_card(one, factor=factor, noise=0.05)] for one in seeds]
        for seeds, factor in ((range(4), 1), (range(4, 8), 1.15))
    )
    assert compare(old[:1], new[:1]).verdict == "SAME"
    found = compare(old, new)
    assert found.verdict == "WORSE"
    assert found.a.seeds == (0, 1, 2, 3)
    assert "the spread of the 4 and 4 compared seeds" in effect(found, "error").note


def touched(card: Scorecard, by: float, **fields: Any) -> Scorecard:
    """The scorecard of a model whose weights were touched: each clip's error differs by a share up to ``by``."""
    rng = np.random.default_rng(5)
    clips = (replace(one, error=one.error * (1 + by * float(rng.uniform(-1, 1)))) for one in card.clips)
    named = {"name": f"{card.name}, touched", "source": f"{card.source}, touched", "weights": {"dynamics": "f" * 64}}
    return replace(card, clips=tuple(clips), **{**named, **fields})


@pytest.mark.parametrize("side", ["a", "b"])
def test_touched_copies_of_a_model_are_no_other_seeds(side: str) -> None:
    one, other = made_card(0), made_card(1, factor=1.3)
    copies = [[one], [touched(one, 1e-4)]]
    found = compare(copies, [[other]]) if side == "a" else compare([[other]], copies)
    assert found.verdict == "NOT-COMPARABLE"
    assert "seed 0 and seed 0, touched are one model" in found.sentence
    assert compare([[one]], [[touched(one, 1e-4)]]).verdict == "SAME", "the two sides may be nearly the same"


def test_other_seeds_that_are_alike_on_most_clips_are_two_models() -> None:
    one = made_card(0)
    alike = touched(one, 1e-4)
    alike = replace(alike, clips=(replace(alike.clips[0], error=alike.clips[0].error * 1.1), *alike.clips[1:]))
    assert compare([[one], [alike]], [[made_card(1)]]).verdict != "NOT-COMPARABLE"


def test_perfect_models_without_any_error_are_not_called_one_model() -> None:
    perfect = [[touched(made_card(seed, factor=0.0), 0.0, name=f"seed {seed}", source=str(seed))] for seed in range(2)]
    assert "one model" not in compare(perfect, [[made_card(1)]]).sentence


def test_a_lost_kind_of_objects_is_worse_although_most_objects_are_found() -> None:
    kinds = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    old, new = made_card(0, recall=kinds), made_card(0, recall=(0.6, *kinds[1:]), source="other", weights={})
    found = of_models(old, new)
    assert found.verdict == "WORSE"
    assert [one.key for one in found.effects if one.verdict == "WORSE"] == ["recall"]
    assert "objects of about 4 x 4 px" in found.sentence


def test_actions_that_no_longer_matter_are_worse() -> None:
    found = of_models(made_card(0), made_card(0, control=1.05, source="other", weights={}))
    assert [one.key for one in found.effects if one.verdict == "WORSE"] == ["control"]
    assert effect(found, "control").change == pytest.approx(10 * math.log10(1.05 / 2))


def test_equal_errors_of_other_weights_are_the_same() -> None:
    twin = replace(made_card(0), source="other", weights={"dynamics": "a" * 64})
    found = compare([[made_card(0)]], [[twin]])
    assert (found.verdict, effect(found, "error").change) == ("SAME", 0.0)
    assert found.changed_clips == ()


def test_retrained_to_the_same_weights_is_the_same_and_says_so() -> None:
    found = compare([[made_card(0)]], [[replace(made_card(0), source="another run")]])
    assert found.sentence.startswith("SAME: both sides have the same weights, bit for bit")


def test_what_was_not_measured_decides_nothing() -> None:
    old, new = (
        replace(
            card,
            clips=tuple(replace(one, random=None, true=0, found=0, generated=0, kinds=()) for one in card.clips),
            kinds=(),
        )
        for card in (made_card(0), made_card(1, factor=3.0))
    )
    found = of_models(old, new)
    assert found.verdict == "WORSE"
    assert {one.key for one in found.effects if one.verdict == "NOT-MEASURED"} == {"recall", "precision", "control"}


CASES: dict[str, tuple[list[Entry], list[Entry], str]] = {
    "other clips": ([[made_card(0)]], [[made_card(1, first=1000)]], "other clips: 64 of the 64 clips"),
    "missing clips": ([[made_card(0)]], [[made_card(1, clips=60)]], "missing clips: 4 of the 64 clips"),
    "other context": (
        [[made_card(0)]],
        [[made_card(1, settings={**SETTINGS, "context": 2}, first=1000)]],
        "other settings: context frames 3 in seed 0 and 2 in seed 1",
    ),
    "teacher-forced": ([[made_card(0)]], [[made_card(1, settings={**SETTINGS, "teacher_forced": True})]], "teacher"),
    "other metric version": ([[made_card(0)]], [[made_card(1, metric_version=2)]], "other metric version"),
    "itself": ([[made_card(0)]], [[made_card(0)]], "both sides are the same: seed 0"),
    "itself among several": (
        [[made_card(0)], [made_card(1)]],
        [[made_card(2)], [made_card(1)]],
        "both sides are the same",
    ),
    "few episodes": ([[made_card(0, episodes=4)]], [[made_card(1, episodes=4)]], "in 4 episodes; 5 are needed"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_compared_says_why(case: str) -> None:
    a, b, reason = CASES[case]
    found = compare(a, b)
    assert found.verdict == "NOT-COMPARABLE"
    assert found.reason is not None
    assert reason in found.reason
    assert found.effects == ()


def test_further_clips_of_the_new_side_are_left_out_and_named() -> None:
    found = of_models(made_card(0), made_card(1, clips=80))
    assert (found.verdict, found.clips) == ("SAME", 64)
    assert any("16 further clips" in note for note in found.notes)


def test_the_draw_that_both_sides_have_is_compared() -> None:
    """A run that retried has a final draw, and its attempts; a baseline that passed at once has attempts alone."""
    final = made_card(1, first=1000, name="final draw")
    found = compare([[made_card(0)]], [[final, made_card(1, factor=1.0)]])
    assert found.verdict == "SAME"
    back = compare([[final, made_card(1)]], [[made_card(2)]])
    assert back.verdict == "SAME"
    assert any("compared on the clips of seed 1" in note for note in back.notes)


def test_a_recipe_that_decodes_otherwise_is_compared_with_a_note() -> None:
    new = made_card(1, settings={**SETTINGS, "decode_steps": 8})
    found = compare([[made_card(0, settings={**SETTINGS, "decode_steps": 4})]], [[new]])
    assert found.verdict == "SAME"
    assert "decode_steps differs: 4 before, 8 now" in found.notes


def test_the_plain_data_has_the_agreed_fields() -> None:
    found = json.loads(json.dumps(plain(compare([[made_card(0)]], [[made_card(1, factor=2.0)]], speed=True).as_dict())))
    expected = {
        "schema",
        "verdict",
        "sentence",
        "reason",
        "question",
        "a",
        "b",
        "clips",
        "episodes",
        "effects",
        "visible_change",
        "changed_clips",
    }
    assert expected <= set(found)
    assert [one["key"] for one in found["effects"]] == ["error", "skill", "recall", "precision", "control", "speed"]
    fields = {"key", "label", "unit", "better", "a", "b", "change", "low", "high", "verdict", "note"}
    assert all(set(one) == fields for one in found["effects"])
    assert set(found["changed_clips"][0]) == {"digest", "episode", "a", "b"}
    changes = [abs(one["b"] - one["a"]) for one in found["changed_clips"]]
    assert changes == sorted(changes, reverse=True)


def test_the_level_is_shared_out_and_handed_on() -> None:
    assert levels(["error"]) == {"error": 0.05}
    assert sum(levels(["error", "recall", "control"]).values()) == pytest.approx(0.05)

    def tested(measure: Any, p: float, change: float) -> Candidate:
        one = Difference(measure, 1.0, 1.0 + change, jackknife(change, np.zeros(5)), 0.0, 4)
        return Candidate(one, one, p)

    found = {
        "error": tested(ERROR, 0.04, 0.5),
        "control": tested(CONTROL, 0.001, -1.0),
        "recall": tested(RECALL, 0.9, 1),
    }
    # 0.04 is above the error's own 0.03, and below the 0.0375 + … that the control's share leaves to it.
    assert holm(found)["control"] == "WORSE"
    assert holm(found)["error"] == "SAME"
    alone = {"error": tested(ERROR, 0.04, 0.5), "control": tested(CONTROL, 0.001, -1.0)}
    assert holm(alone)["error"] == "WORSE"


def test_every_measure_has_a_stated_spread() -> None:
    for key in ("error", "skill", "recall", "precision", "control", "kind"):
        assert default_spread(key).deviation > 0
