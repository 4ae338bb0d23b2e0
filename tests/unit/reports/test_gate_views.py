"""What the report tells of the gate's measurement: everything that was measured, and nothing that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.gate_evidence import clip, raw
from tests.helpers.journal_samples import SampleRun, measures_of
from tests.unit.reports.test_render import cells
from tinyworlds_gate.gate.measures.summary import NO_BOUNDS, summarise
from tinyworlds_gate.reports.gate_views import gate_facts, step_table
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.reports.render import write_reports

NEW: dict[str, Any] = {
    "skill_mean_frame": 0.51,
    "strict_mse": 0.0161,
    "teacher_forced_mse": 0.0093,
    "teacher_forced_mse_by_step": [0.009, 0.0091, 0.0094, 0.0097],
    "ssim": 0.62,
    "displacement_information": 0.44,
    "token_codes_used": 51,
    "token_vocabulary": 64,
    "rollout": "tokens",
    "memory_sharp_mse": 0.0123,
    "memory_hedged_mse": 0.0081,
    "memory_sharp_mse_by_step": [0.01, 0.012, 0.013, 0.0142],
    "memory_references": NO_BOUNDS,
}


def report(run: SampleRun) -> str:
    return write_reports(run.root, run.folder)["A1"].read_text(encoding="utf-8")


def judged(root: Path, **measures: Any) -> SampleRun:
    return SampleRun(root).prepare().train().infer(1, 0.0161, **measures).evidence()


@pytest.mark.requirement("G5", "A1")
def test_what_was_measured_stands_in_the_report_with_how_to_read_it(tmp_path: Path) -> None:
    shown = {row[0]: row[1:] for row in cells(report(judged(tmp_path, **NEW)), "what")}
    assert shown["MSE, strict"][0] == "0.0161"
    assert shown["MSE, teacher-forced"] == ["0.0093", "each step starts from true frames; no pass rests on it"]
    assert shown["Skill against the mean frame"][0] == "0.51"
    assert shown["Tokens in use"][0] == "51"
    assert shown["Fed back"][0] == "tokens"


@pytest.mark.requirement("G5", "A1")
def test_the_report_says_that_the_memory_references_are_no_bounds(tmp_path: Path) -> None:
    shown = {row[0]: row[1:] for row in cells(report(judged(tmp_path, **NEW)), "what")}
    assert shown["Memory reference, sharp"][0] == "0.0123"
    assert shown["Memory reference, sharp"][1].startswith("no bounds: beating one is no evidence of a leak")
    assert shown["Memory reference, hedged"][0] == "0.0081"
    assert shown["Memory reference, hedged"][1].endswith("no bound")


@pytest.mark.requirement("G5", "A1")
def test_memory_references_that_were_not_run_say_so_and_why(tmp_path: Path) -> None:
    told = {"memory_references": "NOT-RUN: the frames file has no player_position"}
    shown = {row[0]: row[1:] for row in cells(report(judged(tmp_path, **told)), "what")}
    assert shown["Memory references"] == ["NOT-RUN", "the frames file has no player_position"]


def test_errors_by_step_have_a_column_for_everything_that_was_measured_by_step(tmp_path: Path) -> None:
    rows = cells(report(judged(tmp_path, **NEW)), "step")
    table = step_table({**measures_of(0.0161), **NEW})
    assert table is not None
    assert table.headings == ["step", "MSE", "copy-last MSE", "teacher-forced", "memory, sharp"]
    assert [[float(cell) for cell in row] for row in rows] == table.rows
    assert [row[4] for row in table.rows] == NEW["memory_sharp_mse_by_step"]


def test_a_journal_from_before_has_no_rows_for_what_it_does_not_know(tmp_path: Path) -> None:
    run = judged(tmp_path)
    shown = [what for what, _, _ in gate_facts(load_record(run.root, run.folder))]
    assert "MSE of the generated frames" in shown
    assert not [what for what in shown if what.startswith(("SSIM", "Memory", "Tokens in use", "MSE, strict"))]
    assert step_table({}) is None


def test_every_field_by_step_that_the_gate_measures_has_its_column() -> None:
    both = {"strict_mse": [0.1, 0.2], "teacher_forced_mse": [0.1, 0.1], "rollout_ssim": [0.5, 0.4]}
    found = summarise(raw([{**clip([0.1, 0.2]), **both}])).as_dict()
    table = step_table(found)
    assert table is not None
    known = {key for key, value in found.items() if key.endswith(("_by_step", "_by_step_db")) and value}
    assert len(table.headings) - 1 == len(known - {"strict_mse_by_step"})
    assert [len(row) for row in table.rows] == [len(table.headings)] * 2
