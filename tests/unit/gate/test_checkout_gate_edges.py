"""Whole sentences and limits of the checkout's own gate. ``pytest tests/unit/gate/test_checkout_gate_edges.py``"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from tests.unit.gate.test_checkout_gate import FORK, GOOD, ORIGINAL, PATHS, evidence, trusted
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.checkout_gate import (
    both_gates,
    disagreement,
    gates_event,
    judge_target,
    of_one_code,
    stated_error,
    unmendable_by_training,
)
from tinyworlds_gate.gate.conditions import Condition

LIMITS = GateThresholds()
OVER_BOTH = (
    "its log states 0.020000 over 2 copied context frames and 2 generated ones, which is 0.040000 over the generated "
    "frames alone"
)


def lines(**changes: Any) -> Any:
    return dataclasses.replace(GOOD, **changes)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize(
    ("mse", "with_context", "can", "found", "explanation"),
    [
        (None, None, FORK, None, "its log states the error None"),
        (math.inf, None, FORK, math.inf, "its log states the error inf"),
        (0.02, None, ORIGINAL, 0.04, OVER_BOTH),
        (0.02, None, FORK, 0.04, f"{OVER_BOTH} (no line `full_with_context` shows that the context was left out)"),
        (0.02, 0.01, FORK, 0.02, "its log states 0.020000 over 2 generated frames"),
        (0.02, 0.0100019, FORK, 0.02, "its log states 0.020000 over 2 generated frames"),
        (0.02, 0.02, FORK, 0.04, OVER_BOTH),
        (0.0, 0.0, FORK, 0.0, "its log states 0.000000 over 2 generated frames"),
        (
            *(0.02, 0.010003, FORK, 0.02),
            "its log states 0.020000 and, with the context, 0.010003: with 2 copied and 2 generated frames these two "
            "contradict each other",
        ),
    ],
)
def test_what_the_stated_errors_mean(mse: Any, with_context: Any, can: Any, found: Any, explanation: str) -> None:
    error = stated_error(evidence(lines(mse=mse, mse_with_context=with_context)), can)
    assert (error.mse, error.explanation) == (found, explanation)
    assert error.contradiction == ("contradict" in explanation)


@pytest.mark.requirement("G1", "G3", "G5")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "PASS: its log states 0.020000 over 2 generated frames."),
        (
            {"exit_code": None, "error": "E"},
            "FAIL: the checkout's inference was ended; E.",
        ),
        (
            {"exit_code": 1, "picture": None, "picture_problem": "none", "lines": lines(random_actions=3)},
            "INVALID: the checkout's rollout followed random actions in 3 step(s) and was compared with the true "
            "future, "
            "so its error says nothing of its model (hazard 6). Also: the checkout's inference ended with exit code 1; "
            "its log names no exception. Also: the checkout's inference left no picture: none.",
        ),
        (
            {"lines": lines(frames_inferred=0, has_stats=False)},
            "FAIL: the checkout's log lacks `Inferring frame …` and `Inference stats`: it did not reach its end.",
        ),
        (
            {"lines": lines(mse=None), "shown_checkpoints": {**PATHS, "video_tokenizer": "/c"}},
            f"FAIL: the checkout's log shows the video_tokenizer checkpoint /c, but this run chose "
            f"{PATHS['video_tokenizer']}: its search for the latest one took another (hazard 3). Also: the "
            f"checkout's log "
            "lacks `Mean Squared Error (GT vs Pred)`: nothing was measured.",
        ),
    ],
)
def test_the_own_gate_names_all_that_is_wrong(changes: dict[str, Any], sentence: str) -> None:
    assert judge_target(evidence(**changes), FORK, 0.03).sentence == sentence


@pytest.mark.requirement("G1", "G2", "G3", "G4", "G5")
def test_each_condition_that_holds_says_what_was_seen() -> None:
    judged = judge_target(evidence(), FORK, 0.02)
    assert [(one.verdict, one.reason) for one in judged.conditions] == [
        ("PASS", "the checkout's inference ended with exit code 0"),
        ("PASS", "the checkout's log shows the three checkpoints that this run chose"),
        ("PASS", "the checkout's log shows 4 inference steps and the stats"),
        ("PASS", "inference_results_gt_vs_pred_1.png is new and decodes as an image"),
        ("PASS", "its log states 0.020000 over 2 generated frames, at most 0.02"),
    ]
    above = judge_target(evidence(), FORK, 0.0199).conditions[-1]
    assert above.reason == ("the checkout's own error is above 0.0199: its log states 0.020000 over 2 generated frames")


@pytest.mark.requirement("G5")
def test_both_gates_in_a_sentence() -> None:
    own, bad = judge_target(evidence(), FORK, 0.03), judge_target(evidence(exit_code=2), FORK, 0.03)
    ours = trusted().sentence
    stated = own.sentence.removeprefix("PASS: ")
    passed = both_gates(own, trusted(), None, LIMITS)
    assert passed.sentence == f"{ours} The checkout's own gate passed too: {stated}"
    assert [one.id for one in passed.conditions] == [*(f"G{n}.target" for n in range(1, 6)), "G5"]
    assert both_gates(own, trusted("FAIL"), None, LIMITS).sentence == trusted("FAIL").sentence
    said = bad.sentence.removeprefix("FAIL: ")
    assert both_gates(bad, trusted(), None, LIMITS).sentence == (
        f"FAIL: the checkout's own gate: {said} The trusted gate: {ours}"
    )
    none = both_gates(own, None, "why", LIMITS)
    assert none.sentence == (
        "INVALID: nothing was measured on held-out clips, and nothing evaluated is not a pass; the trusted gate is "
        f"NOT-RUN: why. The checkout's own gate says {own.sentence}"
    )
    assert none.conditions[-1] == Condition("G5.trusted", "INVALID", "the trusted gate is NOT-RUN: why")
    assert gates_event(own, None, "why")["gates"]["trusted"] == {"verdict": "NOT-RUN", "sentence": "NOT-RUN: why."}


def test_where_the_gates_disagree_both_are_named() -> None:
    own = judge_target(evidence(lines(mse=None)), FORK, 0.03)
    end = "the trusted one PASS on held-out clips. The trusted one decides about the model; a pass needs both."
    assert disagreement(own, trusted(), None) == (
        f"The two gates disagree: the checkout's own says FAIL (no error), {end}"
    )
    large = judge_target(evidence(), FORK, 0.001)
    assert disagreement(large, trusted(), None) == (
        f"The two gates disagree: the checkout's own says FAIL (0.0200 on one clip of its own choice), {end}"
    )
    assert disagreement(own, trusted("FAIL"), None) is None
    assert disagreement(own, None, "why") == ("The checkout's own gate says FAIL, the trusted gate is NOT-RUN: why")


@pytest.mark.requirement("G2")
def test_the_files_of_a_checkout_are_compared() -> None:
    same = of_one_code(trusted(), [], 20)
    unchanged = "the 20 files of the checkout are what they were before the run"
    assert same.conditions[-1] == Condition("G2.checkout", "PASS", unchanged)
    assert same.sentence == trusted().sentence
    changed = of_one_code(trusted(), ["a", "b"], 20)
    why = "files of the checkout changed during the run, so that its weights are not of one code: a, b"
    assert changed.sentence == f"INVALID: {why}. {trusted().sentence}"
    assert changed.conditions[-1] == Condition("G2.checkout", "INVALID", why)


@pytest.mark.requirement("T5")
def test_only_an_error_that_is_too_large_can_be_mended() -> None:
    def why(*conditions: tuple[str, str]) -> str | None:
        return unmendable_by_training([Condition(id, verdict, f"{id} {verdict}") for id, verdict in conditions])

    assert why() is None
    assert why(("G5.target", "FAIL"), ("G1", "FAIL"), ("G1.target", "PASS"), ("G2.target", "INVALID")) is None
    assert why(("G5.target", "INVALID"), ("G1.target", "FAIL")) == "G5.target INVALID"
    assert why(("G4.target", "FAIL")) == "G4.target FAIL"
