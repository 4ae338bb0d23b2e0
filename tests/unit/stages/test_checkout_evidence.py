"""What a checkout's chunk left, judged without running one: history, rates, annealing, renamed checkpoints.

pytest tests/unit/stages/test_checkout_evidence.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.stand_in import write_sources
from tinyworlds_gate.evidence.metrics.history import write_history
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.checkout_artifacts import adopt_checkpoints, gather_checkout_evidence
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence
from tinyworlds_gate.targets.base import Target, TargetLayout
from tinyworlds_gate.targets.checkout import checkout_target

STAGE = "dynamics"


@pytest.fixture
def target(tmp_path: Path) -> Target:
    found = checkout_target(write_sources(tmp_path / "checkout", "tinyworlds-fork"))
    assert found is not None
    return found


def evidence(
    target: Target,
    tmp_path: Path,
    steps: Sequence[int],
    rates: Sequence[float] = (),
    *,
    start: int = 0,
    end: int = 40,
    updates: int = 40,
) -> ChunkEvidence:
    layout = RunLayout(tmp_path / "out", "run").create()
    found = dict(zip(steps, rates or [1e-3] * len(steps), strict=True))
    rows = {step: {"train/loss": 0.1, "learning_rate/group_0": rate} for step, rate in found.items()}
    write_history(layout.history(STAGE), rows)
    return gather_checkout_evidence(
        target,
        layout,
        STAGE,
        start_update=start,
        end_update=end,
        target_updates=updates,
        learning_rate=1e-3,
        log_interval=10,
        nproc=2,
        pictures_before={},
        history_problem=None,
    )


@pytest.mark.requirement("M1")
@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (range(40), None),
        (range(0, 40, 10), None),
        ((), r"hold no row of the updates 0 to 39"),
        ((0,), r"hold only the row of update 0 of the updates 0 to 39"),
        ((0, 1, 2, 20), r"stop at update 20, the chunk was to end with update 39"),
    ],
)
def test_a_history_may_be_sparse_and_must_reach_the_chunk_s_end(
    target: Target, tmp_path: Path, steps: Sequence[int], said: str | None
) -> None:
    channel = evidence(target, tmp_path, list(steps)).channels["M1"]
    assert channel["verdict"] == ("PASS" if said is None else "INVALID")
    if said is not None:
        with pytest.raises(AssertionError, match=said):
            raise AssertionError(channel["reason"])


@pytest.mark.requirement("S4")
def test_a_stage_that_saved_nothing_is_reported_whatever_its_exit_code_is(target: Target, tmp_path: Path) -> None:
    problems = "; ".join(evidence(target, tmp_path, range(40)).problems)
    assert "no checkpoint dynamics_step_39 was written: the stage failed before it saved anything" in problems


@pytest.mark.requirement("P1")
def test_a_rate_above_or_far_below_the_configured_one_is_noted(target: Target, tmp_path: Path) -> None:
    kept = evidence(target, tmp_path / "a", range(40), [1e-3] * 20 + [9e-4] * 20)
    assert kept.notes == ()
    above = evidence(target, tmp_path / "b", range(40), [2e-3] * 40)
    assert above.notes == ("the learning rate of update 0 on rose to 0.002, but 0.001 was asked for",)
    below = evidence(target, tmp_path / "c", range(40), [1e-5] * 40)
    assert "rose to 1e-05, but 0.001 was asked for" in below.notes[0]
    resumed = evidence(target, tmp_path / "d", range(20, 40), [1e-5] * 20, start=20)
    assert resumed.notes == (), "a resumed chunk may lie at the end of its schedule"


def test_a_schedule_that_ends_with_the_chunk_and_not_with_the_stage_is_noted(target: Target, tmp_path: Path) -> None:
    rates = [1e-3] * 30 + [1e-5] * 10
    assert evidence(target, tmp_path / "a", range(40), rates).notes == ()
    (note,) = evidence(target, tmp_path / "b", range(40), rates, updates=80).notes
    assert "the schedule ended with this chunk (learning rate 1e-05 at update 39" in note
    assert "the next chunk anneals anew (hazard 10)" in note


def test_checkpoints_under_a_fork_s_own_names_are_moved_to_the_contract_s(target: Target, tmp_path: Path) -> None:
    fork = dataclasses.replace(
        target, stage_names={STAGE: "dyn"}, layout=TargetLayout(checkpoint="{stage}/saved/{stage}-{step}-final")
    )
    layout = RunLayout(tmp_path / "out", "run").create()
    for name in ("dyn-9-final", "dyn-x-final", "dyn-9"):
        (layout.root / "dyn/saved" / name).mkdir(parents=True)
    assert adopt_checkpoints(fork, layout, STAGE) == [layout.checkpoint(STAGE, 9)]
    assert sorted(path.name for path in (layout.root / "dyn/saved").iterdir()) == ["dyn-9", "dyn-x-final"]
    assert adopt_checkpoints(target, layout, STAGE) == []
