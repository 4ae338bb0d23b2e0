"""What a checkout's chunk left, judged without running one: history, rates, annealing, renamed checkpoints.

pytest tests/unit/stages/test_checkout_evidence.py
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.checkpoint_files import foreign_folder
from tests.helpers.fake_stages import small_picture
from tests.helpers.stand_in import write_sources
from tinyworlds_gate.evidence.metrics.history import write_history
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages.checkout_artifacts import adopt_checkpoints, gather_checkout_evidence, no_picture
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence
from tinyworlds_gate.targets.base import Target, TargetLayout
from tinyworlds_gate.targets.capabilities import Reading
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
    nproc: int = 2,
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
        nproc=nproc,
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


@pytest.mark.parametrize(
    ("last", "highest", "noted"), [(1e-4, 1e-3, True), (1.01e-4, 1e-3, False), (1e-3, 1e-3, False)]
)
def test_a_rate_of_a_tenth_of_the_highest_is_the_end_of_a_schedule(
    target: Target, tmp_path: Path, last: float, highest: float, noted: bool
) -> None:
    notes = evidence(target, tmp_path, range(40), [highest] * 39 + [last], updates=41).notes
    assert ["hazard 10" in note for note in notes] == ([True] if noted else [])


@pytest.mark.parametrize("rate", [math.nan, math.inf])
def test_a_history_without_a_finite_rate_has_no_note_on_rates(target: Target, tmp_path: Path, rate: float) -> None:
    assert evidence(target, tmp_path / "a", range(40), [rate] * 40, updates=80).notes == ()
    assert evidence(target, tmp_path / "b", [], updates=80).notes == ()


@pytest.mark.requirement("S4", "M2", "M3")
def test_the_evidence_of_a_fork_with_its_own_names_is_found(target: Target, tmp_path: Path) -> None:
    fork = dataclasses.replace(
        target,
        stage_names={STAGE: "dyn"},
        layout=TargetLayout(checkpoint="{stage}/saved/{stage}-{step}-final", visualizations="{stage}/images"),
    )
    layout = RunLayout(tmp_path / "out", "run")
    shutil.copytree(foreign_folder(STAGE), layout.root / "dyn/saved/dyn-39-final")
    (layout.root / "dyn/images").mkdir()
    small_picture(layout.root / "dyn/images/dyn_39.png")
    found = evidence(fork, tmp_path, range(40))
    assert [path.name for path in layout.checkpoints(STAGE).iterdir()] == ["dynamics_step_39"]
    assert "optim_state_dict.pt" in found.channels["M2"]["reason"], "the checkpoint was read; it has no optimizer state"
    assert found.channels["M3"] == {"verdict": "PASS", "reason": "dyn_39.png is new"}


@pytest.mark.requirement("S4")
@pytest.mark.parametrize("nproc", [1, 2])
def test_only_an_empty_state_of_several_ranks_is_explained_by_hazard_2(
    target: Target, tmp_path: Path, nproc: int
) -> None:
    layout = RunLayout(tmp_path / "out", "run").create()
    shutil.copytree(foreign_folder(STAGE), layout.checkpoint(STAGE, 39))
    (layout.checkpoint(STAGE, 39) / "model_state_dict.pt").write_bytes(b"")
    (empty, *others) = sorted(evidence(target, tmp_path, [0], nproc=nproc).problems, key=lambda one: "empty" not in one)
    assert "empty" in empty
    assert ("(hazard 2)" in empty) is (nproc > 1)
    assert ("use --nproc-per-node 1" in empty) is (nproc > 1)
    assert len(others) == 2, "the history and the picture"
    assert not [one for one in others if "hazard" in one]


@pytest.mark.requirement("S4")
@pytest.mark.parametrize(
    ("saved", "said"),
    [
        ([], "the stage failed before it saved anything"),
        ([0], "only step 0 was saved, so the stage died after it"),
        ([0, 30], "the newest is of step 30, so the last 9 updates are lost"),
        ([30], "the newest is of step 30, so the last 9 updates are lost"),
    ],
)
def test_a_missing_checkpoint_is_explained_by_those_that_were_saved(
    target: Target, tmp_path: Path, saved: list[int], said: str
) -> None:
    layout = RunLayout(tmp_path / "out", "run").create()
    for step in saved:
        layout.checkpoint(STAGE, step).mkdir(parents=True)
    found = evidence(target, tmp_path, range(40))
    assert f"no checkpoint dynamics_step_39 was written: {said}" in "; ".join(found.problems)
    assert said in found.channels["M2"]["reason"]


@pytest.mark.requirement("M3")
@pytest.mark.parametrize(
    ("start", "end", "drawn_at_the_end", "due"),
    [
        (0, 8, None, True),
        (8, 16, None, True),
        (11, 20, None, False),
        (11, 20, False, False),
        (11, 20, True, True),
        (11, 21, False, True),
        (10, 11, False, True),
    ],
)
def test_a_picture_is_due_where_the_interval_divides_a_step_or_the_final_save_draws(
    target: Target, start: int, end: int, drawn_at_the_end: bool | None, due: bool
) -> None:
    reading = Reading(f"draws_last_update {STAGE}", bool(drawn_at_the_end), "scripts/train_dynamics.py:9", "save()")
    shown = dataclasses.replace(target, readings=() if drawn_at_the_end is None else (reading,))
    reason = no_picture(shown, STAGE, start, end, 10)
    assert (reason is None) is due
    if reason is not None:
        assert f"log_interval (10) divides the step, which is none of the updates {start} to {end - 1};" in reason
        assert reason.endswith("draws none" if drawn_at_the_end is None else "draws none (scripts/train_dynamics.py:9)")


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
