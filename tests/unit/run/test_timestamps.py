"""The name of a new run is of no earlier one, whatever the clock says.

pytest tests/unit/run/test_timestamps.py
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from tinyworlds_gate.run.timestamps import FORMAT, free_timestamp, is_plain_stamp, timestamp

NOON = datetime(2026, 10, 25, 12).timestamp()


def test_in_a_new_project_every_second_is_free(tmp_path: Path) -> None:
    assert free_timestamp(tmp_path, NOON) == "2026_10_25_12_00_00"
    datetime.strptime(free_timestamp(tmp_path), FORMAT)


@pytest.mark.requirement("A1", "A5")
@pytest.mark.parametrize(
    "earlier", ["results/smoke_{}", "docs/action/train-to-inference-report-{}.md", "docs/action/validation-{}.html"]
)
def test_a_clock_that_was_set_back_never_names_a_run_like_an_earlier_one(tmp_path: Path, earlier: str) -> None:
    for second in (0, 1, 2, 4):
        path = tmp_path / earlier.format(timestamp(NOON + second))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert free_timestamp(tmp_path, NOON) == "2026_10_25_12_00_03"
    assert free_timestamp(tmp_path, NOON + 4) == "2026_10_25_12_00_05"


@pytest.mark.parametrize(
    ("stamp", "plain"),
    [("2026_10_25_12_00_00", True), ("a-B_9", True), ("x" * 40, True), ("x" * 41, False), ("", False), ("a/b", False)],
)
def test_a_recorded_stamp_is_part_of_a_file_name_only_if_it_is_plain(stamp: str, plain: bool) -> None:
    assert is_plain_stamp(stamp) is plain
    assert not is_plain_stamp(7)
    assert not is_plain_stamp(None)
