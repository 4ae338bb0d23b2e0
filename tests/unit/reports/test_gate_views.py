"""The report of the gate's measurement: everything that was measured, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.gate_evidence import clip, raw
from tests.helpers.journal_samples import SampleRun, measures_of
from tests.unit.reports.test_render import cells
from tinyworlds_gate.gate.extension import ClipMetric
from tinyworlds_gate.gate.measures.custom import CustomResult
from tinyworlds_gate.gate.measures.summary import NO_BOUNDS, summarise
from tinyworlds_gate.reports.gate_views import gate_facts, step_table
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.reports.page import summary_html
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
def test_the_report_has_every_measurement_with_its_explanation(tmp_path: Path) -> None:
    shown = {row[0]: row[1:] for row in cells(report(judged(tmp_path, **NEW)), "what")}
    assert shown["MSE, strict"][0] == "0.0161"
    assert shown["MSE, teacher-forced"] == ["0.0093", "steps start from true frames; not used for the verdict"]
    assert shown["Skill against the mean frame"][0] == "0.51"
    assert shown["Tokens in use"][0] == "51"
    assert shown["Fed back to the model"][0] == "tokens"


OWN = [
    CustomResult(ClipMetric("last_frame", repr, at_most=0.02, sentence="<b>it drifts</b>"), 0.0201, 0.01, 0.03),
    CustomResult(ClipMetric("motion", repr, unit="levels"), problem="its measure raised ValueError: no"),
]


@pytest.mark.requirement("A1", "A8")
def test_conditions_and_metrics_of_the_project_are_in_report_page_and_json(tmp_path: Path) -> None:
    run = judged(tmp_path)
    before, page_before = report(run), "".join(summary_html(load_record(run.root, run.folder)))
    journal = run.folder / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    for event in events:
        if event["event"] == "gate_verdict":
            event["custom_metrics"] = [one.as_record() for one in OWN]
    journal.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    assert cells(report(run), "name") == [
        ["last_frame", "0.0201", "0.01 to 0.03", "at most 0.02", "FAIL", "&lt;b>it drifts&lt;/b>"],
        ["motion", "not measured", "—", "none", "only shown", "its measure raised ValueError: no"],
    ]
    shown = json.loads(write_reports(run.root, run.folder)["A1"].with_suffix(".json").read_text(encoding="utf-8"))
    assert [one["name"] for one in shown["custom_metrics"]] == ["last_frame", "motion"]
    page = "".join(summary_html(load_record(run.root, run.folder)))
    assert "&lt;b&gt;it drifts&lt;/b&gt;" in page
    assert "at most 0.02" in page
    for text in (before, page_before):
        assert "Conditions and metrics of this project" not in text


@pytest.mark.requirement("G5", "A1")
def test_the_report_says_that_the_memory_references_are_no_bounds(tmp_path: Path) -> None:
    shown = {row[0]: row[1:] for row in cells(report(judged(tmp_path, **NEW)), "what")}
    assert shown["Memory reference, sharp"][0] == "0.0123"
    assert shown["Memory reference, sharp"][1].startswith("no bounds: beating one is no evidence of a leak")
    assert shown["Memory reference, hedged"][0] == "0.0081"
    assert shown["Memory reference, hedged"][1].endswith("no bound")


@pytest.mark.requirement("G5", "A1")
def test_memory_references_that_were_not_run_say_so_and_why(tmp_path: Path) -> None:
    not_measured = {"memory_references": "NOT-RUN: the frames file has no player_position"}
    shown = {row[0]: row[1:] for row in cells(report(judged(tmp_path, **not_measured)), "what")}
    assert shown["Memory references"] == ["NOT-RUN", "the frames file has no player_position"]


def test_errors_by_step_have_a_column_for_everything_that_was_measured_by_step(tmp_path: Path) -> None:
    rows = cells(report(judged(tmp_path, **NEW)), "step")
    table = step_table({**measures_of(0.0161), **NEW})
    assert table is not None
    assert table.headings == ["step", "MSE", "copy-last MSE", "teacher-forced", "memory, sharp"]
    assert [[float(cell) for cell in row] for row in rows] == table.rows
    assert [row[4] for row in table.rows] == NEW["memory_sharp_mse_by_step"]


def test_an_older_journal_has_no_rows_for_newer_measurements(tmp_path: Path) -> None:
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
