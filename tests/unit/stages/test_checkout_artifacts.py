"""Limits of what a checkout's history and checkpoints show (whole chunks: test_checkout_evidence.py).

pytest tests/unit/stages/test_checkout_artifacts.py
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from tests.unit.stages.test_checkout_evidence import STAGE, target
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages import checkout_artifacts
from tinyworlds_gate.stages.checkout_artifacts import (
    ANNEALED,
    RATE_ABOVE,
    RATE_BELOW,
    adopt_checkpoints,
    visualizations_of,
)
from tinyworlds_gate.stages.chunk_history import ChunkHistory
from tinyworlds_gate.targets.base import Target, TargetLayout

__all__ = ["target"]


def history(steps: list[int], rates: list[float]) -> ChunkHistory:
    return ChunkHistory(steps, [0.1] * len(steps), rates, [], [], 1.0)


@pytest.mark.requirement("M1")
@pytest.mark.parametrize(
    ("steps", "start", "end", "interval", "said"),
    [
        ([0, 29], 0, 40, 10, None),
        ([0, 28], 0, 40, 10, "stop at update 28, the chunk was to end with update 39 (why)"),
        ([0, 38], 0, 40, 0, None),
        ([0, 37], 0, 40, 0, "stop at update 37"),
        ([7], 7, 8, 10, None),
        ([7], 7, 9, 10, "hold only the row of update 7 of the updates 7 to 8 (why)"),
        ([], 7, 8, 10, "hold no row of the updates 7 to 7 (why)"),
        ([9, 8], 8, 10, 1, None),
    ],
)
def test_the_rows_reach_the_last_update_but_for_one_interval(
    steps: list[int], start: int, end: int, interval: int, said: str | None
) -> None:
    found = checkout_artifacts._history_problem(history(steps, []), start, end, interval, "why")
    assert (found is None) is (said is None)
    assert said is None or said in str(found)
    bare = checkout_artifacts._history_problem(history([], []), start, end, interval, None)
    assert bare is not None
    assert "(" not in bare


@pytest.mark.requirement("P1")
@pytest.mark.parametrize(
    ("highest", "start", "noted"),
    [
        (1e-3 * RATE_ABOVE, 0, False),
        (1.0101e-3, 0, True),
        (1.0101e-3, 5, True),
        (1e-3 * RATE_BELOW, 0, False),
        (0.499e-3, 0, True),
        (0.499e-3, 1, False),
    ],
)
def test_the_highest_rate_is_near_the_configured_one(highest: float, start: int, noted: bool) -> None:
    found = checkout_artifacts._rate_notes(history([start, start + 1], [1e-5, highest]), 1e-3, start)
    assert bool(found) is noted
    assert (RATE_ABOVE, RATE_BELOW, ANNEALED) == (1.01, 0.5, 0.1)


@pytest.mark.parametrize(("end", "noted"), [(39, True), (40, False), (41, False)])
def test_only_a_schedule_that_ends_before_the_stage_anneals_anew(end: int, noted: bool) -> None:
    assert bool(checkout_artifacts._annealing_notes(history([0, 1], [1e-3, 1e-6]), end, 40)) is noted


@pytest.mark.parametrize(("last", "noted"), [(1e-4, True), (1.01e-4, False), (1e-3, False), (math.nan, False)])
def test_a_schedule_has_ended_at_a_tenth_of_its_highest_rate(last: float, noted: bool) -> None:
    assert bool(checkout_artifacts._annealing_notes(history([0, 1], [1e-3, last]), 20, 40)) is noted


@pytest.mark.requirement("S4")
@pytest.mark.parametrize(
    ("problem", "explained"),
    [
        ("model_state_dict.pt is empty", True),
        ("model_state_dict.pt holds 0 tensors", True),
        ("model_state_dict.pt holds 5 tensors and no parameter in them", True),
        ("the loss of update 0 is nan", False),
    ],
)
def test_the_state_of_another_rank_explains_a_checkpoint_without_weights(
    tmp_path: Path, problem: str, explained: bool
) -> None:
    layout = RunLayout(tmp_path, "run").create()
    for nproc in (1, 2):
        found = checkout_artifacts._explained([problem], layout, STAGE, 40, nproc)
        assert list(found) == ([problem] if explained and nproc == 2 else [])
    assert not explained or found[problem].startswith(f"{problem}. If every rank")


@pytest.mark.requirement("S4")
def test_a_chunk_of_one_update_has_no_later_one_to_die_after(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path, "run").create()
    layout.checkpoint(STAGE, 0).mkdir(parents=True)
    problem = "no checkpoint dynamics_step_0 was written"
    assert "the newest is of step 0" in checkout_artifacts._explained([problem], layout, STAGE, 1, 1)[problem]
    assert "only step 0 was saved" in checkout_artifacts._explained([problem], layout, STAGE, 2, 1)[problem]


def test_a_checkpoint_is_moved_once_and_never_over_another(target: Target, tmp_path: Path) -> None:
    fork = dataclasses.replace(
        target, layout=TargetLayout(checkpoint="{stage}/saved/{step}", visualizations="v/{stage}")
    )
    layout = RunLayout(tmp_path / "out", "run").create()
    for step in (3, 4):
        (layout.root / STAGE / "saved" / str(step)).mkdir(parents=True)
    (layout.root / STAGE / "saved" / "5").write_text("no folder")
    layout.checkpoint(STAGE, 3).mkdir(parents=True)
    assert adopt_checkpoints(fork, layout, STAGE) == [layout.checkpoint(STAGE, 4)]
    assert adopt_checkpoints(fork, layout, STAGE) == []
    assert (layout.root / STAGE / "saved" / "3").is_dir()
    assert visualizations_of(fork, layout, STAGE) == layout.root / "v" / STAGE
    renamed = dataclasses.replace(target, stage_names={STAGE: "dyn"})
    layout.root.joinpath("dyn/checkpoints/dyn_step_8").mkdir(parents=True)
    assert adopt_checkpoints(renamed, layout, STAGE) == [layout.checkpoint(STAGE, 8)]
