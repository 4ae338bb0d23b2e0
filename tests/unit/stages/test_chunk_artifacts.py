"""Pictures, losses and rates of a chunk at their limits (whole chunks: test_chunk_evidence.py).

pytest tests/unit/stages/test_chunk_artifacts.py
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from tests.helpers.fake_stages import small_picture
from tests.unit.stages.test_chunk_evidence import SCHEDULE, STAGE, damage_checkpoint, gather, write_chunk, write_history
from tinyworlds_gate.reference.training.schedule import Schedule
from tinyworlds_gate.run.layout import RunLayout
from tinyworlds_gate.stages import chunk_artifacts
from tinyworlds_gate.stages.chunk_artifacts import ChunkEvidence, gather_artifacts, set_aside_earlier_tries
from tinyworlds_gate.stages.chunk_history import ChunkHistory


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    return RunLayout(tmp_path, "run_1").create()


def artifacts(layout: RunLayout, losses: list[float], no_picture: str | None = None) -> ChunkEvidence:
    history = ChunkHistory(list(range(len(losses))), losses, [1e-3] * len(losses), [], [], 1.0)
    return gather_artifacts(
        layout,
        STAGE,
        end_update=10,
        history=history,
        history_problem=None,
        visualizations=layout.visualizations(STAGE),
        pictures_before={},
        no_picture=no_picture,
    )


@pytest.mark.requirement("S4")
@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([0.1, 0.2], None),
        ([0.1, math.nan, math.inf], "the loss of update 1 is nan"),
        ([0.1, 0.2, -math.inf], "the loss of update 2 is -inf"),
    ],
)
def test_the_first_loss_that_is_not_finite_is_named(layout: RunLayout, losses: list[float], said: str | None) -> None:
    found = artifacts(layout, losses)
    assert [problem for problem in found.problems if "loss" in problem] == ([said] if said else [])
    assert found.diverged is (said is not None)
    assert not found.non_finite_weights


def test_columns_of_a_history_that_differ_in_length_are_an_error() -> None:
    short = ChunkHistory([0, 1], [0.1], [1e-3], [], [], 1.0)
    for function in (chunk_artifacts._loss_problems, lambda one: chunk_artifacts._rate_problems(one, SCHEDULE)):
        with pytest.raises(ValueError, match="zip"):
            function(short)


@pytest.mark.requirement("M3")
@pytest.mark.parametrize(
    ("drawn", "reason", "verdict"),
    [(False, None, "INVALID"), (False, "none is due", "NOT-RUN"), (True, "none is due", "PASS"), (True, None, "PASS")],
)
def test_a_picture_may_be_missing_only_where_none_is_due(
    layout: RunLayout, drawn: bool, reason: str | None, verdict: str
) -> None:
    if drawn:
        layout.visualizations(STAGE).mkdir(parents=True)
        small_picture(layout.visualizations(STAGE) / "a.png")
    channel = artifacts(layout, [0.1], reason).channels["M3"]
    assert channel["verdict"] == verdict
    assert (
        channel["reason"]
        == {
            "INVALID": "no new whole picture (PNG) appeared",
            "NOT-RUN": "none is due",
            "PASS": "a.png is new",
        }[verdict]
    )


@pytest.mark.requirement("M3")
@pytest.mark.parametrize(("begin", "end", "whole"), [(True, True, True), (True, False, False), (False, True, False)])
def test_a_whole_picture_has_its_begin_and_its_end(layout: RunLayout, begin: bool, end: bool, whole: bool) -> None:
    layout.visualizations(STAGE).mkdir(parents=True)
    path = layout.visualizations(STAGE) / "a.png"
    small_picture(path)
    content = path.read_bytes()
    path.write_bytes((content[:8] if begin else b"xxxxxxxx") + content[8:-8] + (content[-8:] if end else b"xxxxxxxx"))
    assert (artifacts(layout, [0.1]).visualization is not None) is whole


@pytest.mark.requirement("M3")
def test_the_newest_of_several_new_pictures_counts(layout: RunLayout) -> None:
    layout.visualizations(STAGE).mkdir(parents=True)
    for name, stamp in (("a.png", 5), ("b.png", 9), ("c.png", 7)):
        small_picture(layout.visualizations(STAGE) / name)
        os.utime(layout.visualizations(STAGE) / name, ns=(stamp, stamp))
    found = artifacts(layout, [0.1]).visualization
    assert found is not None
    assert found.name == "b.png"


@pytest.mark.requirement("S4")
def test_a_checkpoint_that_is_there_and_unusable_differs_from_one_that_is_missing(layout: RunLayout) -> None:
    write_chunk(layout, 0, 10)
    assert not gather(layout, 0, 10).checkpoint_refused
    assert gather(layout, 0, 10).channels["M2"]["reason"] == "checkpoint of update 9 verified"
    damage_checkpoint(layout)
    assert gather(layout, 0, 10).checkpoint_refused
    missing = gather(layout, 0, 11)
    assert (missing.checkpoint, missing.checkpoint_refused) == (None, False)
    assert missing.channels["M2"]["reason"] == "no checkpoint dynamics_step_10 was written"


@pytest.mark.requirement("P1")
@pytest.mark.parametrize(("factor", "same"), [(1 + 5e-7, True), (1 - 5e-7, True), (1 + 2e-6, False), (1 - 2e-6, False)])
def test_a_rate_may_differ_by_a_millionth(layout: RunLayout, factor: float, same: bool) -> None:
    write_chunk(layout, 0, 10)
    write_history(layout, 0, 10, schedule=Schedule(SCHEDULE.peak * factor, 0, 10))
    assert (gather(layout, 0, 10).problems == ()) is same


def test_checkpoints_from_the_first_update_of_a_try_are_set_aside(layout: RunLayout) -> None:
    for step in (3, 4):
        layout.checkpoint(STAGE, step).mkdir(parents=True)
    assert [path.name for path in set_aside_earlier_tries(layout, STAGE, 4)] == [".superseded-dynamics_step_4-1"]


@pytest.mark.requirement("M3")
def test_a_picture_that_was_there_before_the_chunk_is_not_new(tmp_path: Path) -> None:
    for name, time_ns in (("old.png", 5_000), ("older.png", 4_000)):
        small_picture(tmp_path / name)
        os.utime(tmp_path / name, ns=(time_ns, time_ns))
    before = chunk_artifacts.pictures_in(tmp_path)
    assert chunk_artifacts._fresh_picture(tmp_path, before) is None
    assert chunk_artifacts._fresh_picture(tmp_path, {}) == tmp_path / "old.png"
    os.utime(tmp_path / "older.png", ns=(4_500, 4_500))
    assert chunk_artifacts._fresh_picture(tmp_path, before) == tmp_path / "older.png", "it was drawn again"
