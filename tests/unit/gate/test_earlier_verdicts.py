"""A failed verdict on the same weights is not replaced by a pass on luckier clips.

pytest tests/unit/gate/test_earlier_verdicts.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.gate_evidence import measures
from tinyworlds_gate.config.thresholds import GateThresholds
from tinyworlds_gate.gate.earlier_verdicts import earlier_failures
from tinyworlds_gate.gate.provenance import recorded_conditions
from tinyworlds_gate.names import ATTEMPTS, FINAL
from tinyworlds_gate.run.journal import Journal

WEIGHTS = {"video_tokenizer": "1" * 64, "latent_actions": "2" * 64, "dynamics": "3" * 64}
CONFIG: dict[str, Any] = {"inference.dataset": "CRAFTER", "inference.generation_steps": 12, "inference.clip_seed": 0}
LIMITS = GateThresholds(max_mse=0.03, min_episodes=None, require_upper_below_mean_frame=False)
BAD, GOOD = 0.05, 0.01


def earlier_run(root: Path, name: str, mse: float = BAD, draw: int = FINAL, clips: str = "final", **more: Any) -> None:
    """A run of the project with one verdict."""
    binding = {"checkpoints": WEIGHTS, "clip_digest": clips, "config": CONFIG} | more
    verdict = "FAIL" if mse > LIMITS.max_mse else "PASS"
    with Journal(root / name / "journal.jsonl") as journal:
        journal.append("run_started", kind="smoke")
        journal.append(
            "gate_verdict",
            attempt=2,
            draw=draw,
            verdict=verdict,
            sentence=f"{verdict}: the rollout error {mse}.",
            measures=measures(mse=mse).as_dict(),
            binding=binding,
        )


def failures(root: Path, config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    return earlier_failures(root, "now", WEIGHTS, "attempts", CONFIG | dict(config or {}), LIMITS)


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize("draw", [ATTEMPTS, FINAL])
def test_a_failure_on_other_clips_is_found_and_fails_the_run(tmp_path: Path, draw: int) -> None:
    earlier_run(tmp_path, "old", draw=draw)
    (found,) = failures(tmp_path)
    assert (found["run"], found["sentence"]) == ("results/old", "FAIL: the rollout error 0.05.")
    assert failures(tmp_path, {"inference.clip_seed": 7}) == [found]
    event = {"event": "earlier_verdicts", "attempt": 1, "draw": 1, "failures": [found]}
    (condition,) = recorded_conditions([event], 1, 1)
    assert (condition.id, condition.verdict) == ("G5.earlier", "FAIL")
    assert "the same weights failed in results/old" in condition.reason
    assert "FAIL: the rollout error 0.05." in condition.reason


@pytest.mark.requirement("H3", "G5")
@pytest.mark.parametrize(
    ("more", "now"),
    [
        ({"checkpoints": {**WEIGHTS, "dynamics": "4" * 64}}, {}),
        ({}, {"inference.generation_steps": 1}),
        ({}, {"inference.dataset": "ZELDA"}),
        ({"clip_digest": "attempts"}, {}),
        ({"clip_digest": None}, {}),
    ],
    ids=["other weights", "other rollout", "other game", "the same clips", "nothing was measured"],
)
def test_what_is_no_earlier_failure(tmp_path: Path, more: dict[str, Any], now: dict[str, Any]) -> None:
    earlier_run(tmp_path, "old", **more)
    assert failures(tmp_path, now) == []


@pytest.mark.requirement("H3")
def test_numbers_within_the_present_limits_are_no_failure_and_an_own_run_does_not_count(tmp_path: Path) -> None:
    earlier_run(tmp_path, "passed", mse=GOOD)
    earlier_run(tmp_path, "now")
    assert failures(tmp_path) == []
    within, above = (LIMITS.model_copy(update={"max_mse": limit}) for limit in (0.051, 0.049))
    assert earlier_failures(tmp_path, "x", WEIGHTS, "y", CONFIG, within) == []
    assert len(earlier_failures(tmp_path, "x", WEIGHTS, "y", CONFIG, above)) == 1


@pytest.mark.requirement("H3")
def test_a_pass_on_the_same_clips_replaces_a_failure(tmp_path: Path) -> None:
    earlier_run(tmp_path, "old")
    earlier_run(tmp_path, "passed_elsewhere", mse=GOOD, clips="others")
    assert len(failures(tmp_path)) == 1
    earlier_run(tmp_path, "mended", mse=GOOD, clips="final")
    assert failures(tmp_path) == []


def test_a_journal_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    earlier_run(tmp_path, "old")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "journal.jsonl").write_bytes(b"\xff" + WEIGHTS["dynamics"].encode() + b"\n\n{}\n")
    assert len(failures(tmp_path)) == 1


@pytest.mark.requirement("H3")
def test_weights_without_an_earlier_failure_hold_the_condition() -> None:
    (condition,) = recorded_conditions([{"event": "earlier_verdicts", "attempt": 1, "draw": 2, "failures": []}], 1, 2)
    assert (condition.id, condition.verdict) == ("G5.earlier", "PASS")
    assert recorded_conditions([], 1, 1) == ()
