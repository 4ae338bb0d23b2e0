"""A stage's metric history and how its local files are read (L9).

Run: pytest tests/unit/evidence/metrics/test_history.py
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.helpers.journal_samples import COLUMNS
from tinyworlds_gate.evidence.metrics.history import (
    LOSS,
    UNIQUE,
    Row,
    centred_mean,
    first_and_last_tenth,
    history_of_rows,
    number,
    write_history,
)
from tinyworlds_gate.evidence.metrics.local import local_histories, origin_of_checkpoint, read_history

RUN = "smoke_sample"


def rows_file(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n", encoding="utf-8")
    return path


def test_a_torn_last_row_is_left_out_and_counted(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "h.csv", "0,1.0,0.5,0.001,,,,,", "1,2.0,0.4,0.001,,,,,")
    with path.open("a", encoding="utf-8") as file:
        file.write("2,3.0,0.")
    history = read_history("dynamics", path)
    assert (history.steps, history.unreadable_rows) == ((0, 1), 1)


def test_of_a_repeated_update_the_last_value_counts(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "h.csv", "0,1,0.5,,,,,,", "1,2,0.4,,,,,,", "1,3,0.3,,,,,,")
    history = read_history("dynamics", path)
    assert history.points(LOSS) == ([0, 1], [0.5, 0.3])
    assert history.repeated_steps == 1


def test_missing_values_stay_missing_and_are_not_zero(tmp_path: Path) -> None:
    path = rows_file(tmp_path / "h.csv", "0,1,0.5,,,,,,", "1,2,,,,,,,")
    assert read_history("dynamics", path).columns[LOSS] == (0.5, None)


def test_an_empty_file_is_a_history_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text("", encoding="utf-8")
    assert read_history("dynamics", path).steps == ()


@pytest.mark.requirement("M1", "L9")
@pytest.mark.parametrize("as_lines", [False, True], ids=["one list", "a row a line"])
def test_a_json_history_is_read_like_the_csv(tmp_path: Path, as_lines: bool) -> None:
    rows = [{"_step": 1, LOSS: 2, UNIQUE: None}, {"_step": 0, LOSS: "NaN"}, {"_step": 2.5, LOSS: 1.0}, "no row"]
    path = tmp_path / "Logs" / f"dynamics_history_{RUN}.json"
    path.parent.mkdir()
    text = "\n".join(map(json.dumps, rows)) + '\n{"_step": 9, "trai' if as_lines else json.dumps(rows)
    path.write_text(text, encoding="utf-8")
    history = read_history("dynamics", local_histories(tmp_path, RUN)["dynamics"])
    assert history.points(LOSS) == ([1], [2.0])
    assert history.steps == (0, 1)
    assert history.unreadable_rows == (3 if as_lines else 2)


@pytest.mark.requirement("M1")
def test_the_csv_that_the_stage_writes_goes_before_a_json_of_the_same_run(tmp_path: Path) -> None:
    table = rows_file(tmp_path / "Logs" / f"dynamics_history_{RUN}.csv")
    table.with_suffix(".json").write_text("[]", encoding="utf-8")
    assert local_histories(tmp_path, RUN)["dynamics"] == table


def test_the_history_of_a_run_whose_name_begins_alike_is_not_taken(tmp_path: Path) -> None:
    other = rows_file(tmp_path / "Logs" / f"dynamics_history_{RUN}_2.csv", "0,1,0.5,,,,,,")
    found = local_histories(tmp_path, RUN)["dynamics"]
    assert (found == other, found.exists()) == (False, False)


def test_a_checkpoint_option_leads_to_the_run_of_the_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "results" / RUN
    given = run / "dynamics" / "checkpoints" / "dynamics_step_199"
    assert origin_of_checkpoint(given) == origin_of_checkpoint(given.parent) == (run, "dynamics")
    assert origin_of_checkpoint(tmp_path / "elsewhere" / "dynamics_step_199") is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (0.25, 0.25),
        ("0.25", 0.25),
        ("Infinity", math.inf),
        (None, None),
        ("", None),
        (True, None),
        ({}, None),
    ],
)
def test_a_metric_is_a_float_whatever_form_it_came_in(value: object, expected: float | None) -> None:
    assert number(value) == expected


def test_nan_that_came_as_text_is_nan_and_no_missing_value() -> None:
    found = number("NaN")
    assert found is not None
    assert math.isnan(found)


def test_what_is_written_is_read_back_to_the_bit(tmp_path: Path) -> None:
    rows: dict[int, Row] = {7: {LOSS: 0.1 + 0.2, UNIQUE: None}, 3: {LOSS: math.inf, UNIQUE: 4.0}}
    path = tmp_path / "kept" / "dynamics_history_api.csv"
    write_history(path, rows)
    assert read_history("dynamics", path).columns == history_of_rows("dynamics", path, rows).columns
    assert path.read_text(encoding="utf-8").splitlines()[0] == f"_step,{LOSS},{UNIQUE}"


def test_the_rolling_mean_looks_as_far_ahead_as_back() -> None:
    assert centred_mean([1.0, 2.0, 6.0, 4.0, 2.0], 1) == [1.5, 3.0, 4.0, 4.0, 3.0]
    assert centred_mean([1.0, 3.0], 9) == [2.0, 2.0]


def test_the_tenths_hold_at_least_one_value() -> None:
    assert first_and_last_tenth([3.0, 1.0, 2.0]) == ([3.0], [2.0])
    assert first_and_last_tenth([]) == ([], [])
