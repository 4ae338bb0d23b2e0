"""The power of the gate on every change: the quick rows, and that the table, its rates and its page are what they say.

All rows: pytest validation/ -m power
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.commands import REPOSITORY
from tinyworlds_gate.power.broken import broken_things
from tinyworlds_gate.power.defect import Defect
from tinyworlds_gate.power.object_world import CONTEXT, EVENTS, FAULTS, TEXTURED, on_checks
from tinyworlds_gate.power.object_world import play as balls
from tinyworlds_gate.power.page import RECORD, interval, page, rate_text
from tinyworlds_gate.power.record import read_record
from tinyworlds_gate.power.scene import make_scene, try_gate
from tinyworlds_gate.power.table import DEFECTS, LIMITS
from tinyworlds_gate.power.trial import Outcome, caught, caught_without, try_defect
from tinyworlds_gate.power.world import ACTIONS, COLOURS, play

QUICK = "training-clips"
"""One way to break a gate; `-m power` measures all rows."""
QUICK_DEFECTS = [one for one in DEFECTS if one.id in QUICK.split()]
OUTCOME = Outcome(
    "copy-last", "FAIL", "FAIL: … must be above 0", ("G5.skill",), "… must be above 0", "PASS", "PASS: …", 1.0
)


@pytest.mark.requirement("G5")
def test_the_healthy_small_model_passes_the_rule_of_the_long_run_profiles(tmp_path: Path) -> None:
    verdict = try_gate(make_scene(tmp_path / "project")).attempt.verdict
    assert verdict.verdict == "PASS", verdict.sentence
    rule = verdict.thresholds
    assert (rule.require_mse_upper, rule.require_skill, rule.require_upper_below_mean_frame) == (True, True, True)
    assert (rule.min_delta_psnr_db, rule.min_action_codes, rule.min_episodes) == (0.5, 3, 5)


@pytest.mark.requirement("G1", "G2", "G3", "G4", "G5")
@pytest.mark.parametrize("defect", QUICK_DEFECTS, ids=lambda one: one.id)
def test_a_defect_does_not_pass_and_only_its_check_catches_it(defect: Defect, tmp_path: Path) -> None:
    outcome = try_defect(defect, tmp_path / "project")
    assert caught(defect, outcome), outcome
    assert not caught_without(defect, outcome), outcome


def test_the_table_has_130_defects_or_more_each_with_a_name_of_its_own() -> None:
    assert len(DEFECTS) >= 130
    assert max(Counter(one.id for one in (*DEFECTS, *LIMITS)).values()) == 1
    assert {one.id for one in QUICK_DEFECTS} == set(QUICK.split())
    assert {one.way for one in DEFECTS} == {"weights", "files", "data", "rollout", "child", "frames", "afterwards"}
    for one in DEFECTS:
        assert one.project or one.in_child or one.afterwards or one.fault, one.id
        assert one.expected_reason, one.id


def test_every_fault_of_the_ball_world_has_its_row_and_changes_the_generated_frames_only() -> None:
    assert {one.fault for one in DEFECTS if one.fault} == {*FAULTS, *EVENTS, *TEXTURED}
    world = balls(clips=2)
    true = world.drawn()
    for fault, generate in FAULTS.items():
        made = generate(world)
        assert made.shape == true.shape
        changed = (made != true).any(axis=(2, 3, 4))
        least = 0.1 if fault in ("gone-in-one-step", "gone-at-the-left") else 0.5 if "at-the-edge" in fault else 0.999
        assert changed[:, CONTEXT:].mean() > least, fault
        assert not changed[:, :CONTEXT].any() or not fault.endswith("at-the-edge"), fault
    for fault, happens in EVENTS.items():
        changed = (happens(world) != true).any(axis=(2, 3, 4))
        assert not changed[:, :CONTEXT].any(), fault
        assert not changed[1].any(), fault
        assert changed[0, -1], fault
    for fault, generate in TEXTURED.items():
        changed = (generate(world) != on_checks(world)).any(axis=(2, 3, 4))
        assert changed[:, CONTEXT:].mean() > 0.5, fault
    assert np.array_equal(balls(clips=2).drawn(), true)
    moved = np.abs(np.diff(world.places_NTB2, axis=1))
    assert set(np.unique(moved)) <= {0, 1, 2, 3}


def test_nothing_but_the_measurement_of_power_leaves_a_check_out() -> None:
    package = REPOSITORY / "tinyworlds_gate"
    leaving_out = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and any(keyword.arg == "without" for keyword in call.keywords)
    }
    assert leaving_out == {"power/trial.py"}


def test_everything_that_can_be_broken_in_the_process_has_its_row() -> None:
    assert set(broken_things()) == {one.in_child for one in (*DEFECTS, *LIMITS) if one.in_child}


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"verdict": "PASS"}, False),
        ({"verdict": "INVALID"}, False),
        ({"sentence": "FAIL: another reason"}, False),
        ({"reasons": ("G5",)}, False),
        ({"reason": "skill 0.70 against copying the last frame"}, False),
    ],
)
def test_a_row_holds_only_with_verdict_reason_and_check(changes: dict[str, object], holds: bool) -> None:
    (defect,) = [one for one in DEFECTS if one.id == "copy-last"]
    outcome = Outcome(**{**vars(OUTCOME), **changes})
    assert caught(defect, outcome) is holds
    assert not caught_without(defect, outcome)


@pytest.mark.parametrize(
    ("count", "trials", "low", "high"),
    [(0, 20, 0.0, 0.16843), (20, 20, 0.83157, 1.0), (1, 10, 0.00253, 0.44502), (5, 10, 0.18709, 0.81291)],
)
def test_the_intervals_of_rates_are_those_of_the_tables(count: int, trials: int, low: float, high: float) -> None:
    """Clopper and Pearson's exact limits, as printed in statistical tables."""
    assert interval(count, trials) == pytest.approx((low, high), abs=1e-5)


def test_a_rate_is_shown_with_its_interval_and_nonsense_is_refused() -> None:
    assert rate_text(0, 20) == "0 of 20 (95 % interval 0.0 % to 16.8 %)"
    for count, trials in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="is no rate"):
            interval(count, trials)


def test_the_next_frame_of_the_lamp_world_depends_on_tiles_and_action_only() -> None:
    frames, actions = play(3, episodes=4, length=6)
    assert frames.shape == (4, 6, 16, 16, 3)
    for episode, acted in zip(frames, actions, strict=True):
        tiles = episode[:, ::4, ::4]
        assert np.array_equal(tiles.repeat(4, axis=1).repeat(4, axis=2), episode)
        second = [(tiles[step + 1] == COLOURS[acted[step], 1]).all(axis=-1) for step in range(5)]
        first = [(tiles[step + 1] == COLOURS[acted[step], 0]).all(axis=-1) for step in range(5)]
        for one, other in zip(first, second, strict=True):
            assert np.array_equal(one, ~other)
            assert np.array_equal(one, first[0])
    assert set(np.unique(actions[:, :-1])) == set(range(ACTIONS))


def test_the_page_is_that_of_the_record_and_shows_every_row() -> None:
    record = read_record(REPOSITORY / RECORD)
    assert set(record["rows"]) == {one.id for one in DEFECTS}
    text = page(record)
    assert text == (REPOSITORY / "docs" / "gate-power.md").read_text(encoding="utf-8")
    entries = dict(part.partition("\n")[::2] for part in text.split("\n### ")[1:])
    assert list(entries) == [one.id for one in DEFECTS]
    assert [line for line in text.splitlines() if len(line) > 120] == []
    for id, row in record["rows"].items():
        assert f"- Verdict: **{row['verdict']}** by `{row['check']}`" in entries[id]
        assert row["caught"], id
        assert not row["caught_without"], id
