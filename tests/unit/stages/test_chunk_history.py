"""Rows of a history file between two updates, and what is missing there.

pytest tests/unit/stages/test_chunk_history.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyworlds_gate.stages.chunk_history import ChunkHistory, missing_updates, read_chunk_history, recent_mean

HEADER = "_step,_timestamp,train/loss,learning_rate/group_0,unique_actions,action_entropy\n"


def history(steps: list[int], seconds: float = 1.0) -> ChunkHistory:
    return ChunkHistory(steps, [0.1] * len(steps), [1e-3] * len(steps), [], [], seconds)


@pytest.mark.requirement("M1")
@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([4, 5, 6], None),
        ([], "the history has no row for the updates 4 to 6"),
        ([4, 6], "the history lacks 1 of the updates 4 to 6, the first is 5"),
        ([6], "the history lacks 2 of the updates 4 to 6, the first is 4"),
        ([4, 5, 5, 6], "the history has 4 rows for the 3 updates 4 to 6"),
        ([5, 4, 6], "the history has 3 rows for the 3 updates 4 to 6"),
    ],
)
def test_each_update_has_one_row_in_order(steps: list[int], said: str | None) -> None:
    assert missing_updates(history(steps), 4, 7) == said


@pytest.mark.parametrize(
    ("steps", "seconds", "pace"), [([0, 1], 2.0, 0.5), ([0, 1, 2], 1.0, 2.0), ([0], 1.0, None), ([0, 1], 0.0, None)]
)
def test_the_pace_is_that_between_the_first_and_the_last_row(
    steps: list[int], seconds: float, pace: float | None
) -> None:
    assert history(steps, seconds).updates_per_s == pace


def test_rows_are_read_with_their_codes_and_damaged_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    rows = [
        "2,10,0.5,0.1,3,1.5",
        "3,x,0.4,,,",
        "4,14,0.3,0.1,inf,nan",
        "5,15,,0.1,3,1",
        "-1,16,0.3,0.1,3,1",
        "6,17,0.2",
    ]
    path.write_text(HEADER + "\n".join(rows))
    found = read_chunk_history(path, 0, 9)
    assert (found.steps, found.losses, found.seconds) == ([2, 3, 4], [0.5, 0.4, 0.3], 4.0)
    assert (found.unique_actions, found.action_entropy_nats) == ([3.0], [1.5])
    assert found.learning_rates[0] == 0.1
    assert found.learning_rates[1] != found.learning_rates[1], "NaN where the cell is empty"
    assert read_chunk_history(path, 3, 4).steps == [3]
    assert read_chunk_history(path, 2, 3).seconds == 0.0
    assert read_chunk_history(tmp_path / "gone.csv", 0, 9) == ChunkHistory([], [], [], [], [], 0.0)


def test_the_recent_mean_is_that_of_the_last_twenty() -> None:
    assert recent_mean([100.0] + [1.0] * 20) == 1.0
    assert recent_mean([21.0] + [0.0] * 19 + [1.0]) == pytest.approx(0.05)
    assert recent_mean([20.0] + [0.0] * 19) == 1.0


def test_the_seconds_are_those_from_the_first_to_the_last_known_time(tmp_path: Path) -> None:
    times = ("1", "2", "nan", "7", "")
    rows = [f"{step},{time},0.5,1e-3,8,2.0\n" for step, time in enumerate(times)]
    (tmp_path / "history.csv").write_text(HEADER + "".join(rows))
    assert read_chunk_history(tmp_path / "history.csv", 0, 5).seconds == 6.0
    assert read_chunk_history(tmp_path / "history.csv", 1, 5).seconds == 5.0
