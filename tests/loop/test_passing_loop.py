"""A whole loop that passes: terminal, exit status, journal, JUnit, reports and page, as a user of pytest meets them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.conftest import HOSTILE
from tests.helpers.browser import measure_page
from tests.helpers.config_files import REPOSITORY
from tests.helpers.junit_rules import junit_problems, suite_properties
from tests.helpers.tiny_project import GAME, PASSED, STAGES, STEP_SUMMARY, Session, processes_of
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.reports.requirements import REQUIREMENTS

NEED_TWO_GPUS = {"L3", "H6"}
NO_OCCASION = {"G6", "G7", "G8", "G9", "L8", "P3", "P4", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "H8", "H9"}
LONGEST_LINE = 400


@pytest.mark.requirement("H3", "G1", "G2", "G3", "G4", "G5")
def test_the_session_exits_0_and_ends_with_the_verdict_in_words(passing: Session) -> None:
    assert passing.exit_status == 0, passing.output
    assert re.search(rf"^{PASSED} 0\.0\d+ .* held-out clips", passing.output, re.M)
    assert re.search(r"= 42 passed, 19 skipped, \d+ deselected in ", passing.output)


@pytest.mark.requirement("G5")
def test_the_pass_is_far_from_what_black_frames_or_a_copied_frame_would_score(passing: Session) -> None:
    measures = passing.events("gate_verdict")[0]["measures"]
    assert measures["mse_high"] < 0.03 < measures["mean_frame_mse"] < measures["copy_last_mse"]
    assert measures["clips"] == 64
    assert len(measures["mse_by_step"]) == 3
    assert measures["teacher_forced"] is False


def test_every_requirement_has_a_verdict_with_a_reason(passing: Session) -> None:
    found = {event["id"]: (event["verdict"], event["reason"]) for event in passing.events("requirement")}
    assert set(found) == set(REQUIREMENTS)
    assert {id for id, (verdict, _) in found.items() if verdict != "PASS"} == {*NEED_TWO_GPUS, *NO_OCCASION, "M4"}
    assert {id for id, (_, reason) in found.items() if reason.startswith("no occasion: ")} == NO_OCCASION
    assert all(reason for _, reason in found.values())
    assert "needs 2 NVIDIA GPUs, found 0" in found["H6"][1]


@pytest.mark.requirement("L5", "H1", "H2", "H7")
def test_the_stages_train_in_order_from_new_weights_and_dynamics_in_two_chunks(passing: Session) -> None:
    chunks = passing.events("chunk_started")
    assert [chunk["stage"] for chunk in chunks] == [*STAGES, "dynamics"]
    assert [(chunk["start_update"], chunk["end_update"]) for chunk in chunks[2:]] == [(0, 60), (60, 120)]
    assert [bool(chunk["resumed_from"]) for chunk in chunks] == [False, False, False, True]
    assert chunks[3]["resumed_from"].endswith("dynamics_step_59")


@pytest.mark.requirement("G2")
def test_inference_uses_the_last_checkpoints_of_this_run(passing: Session) -> None:
    used = passing.events("inference_started")[0]["checkpoints"]
    last = {event["stage"]: event["checkpoint"]["path"] for event in passing.events("chunk_finished")}
    assert used == last
    assert all(path.startswith(f"results/{passing.run.name}/") for path in used.values())


@pytest.mark.requirement("A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "H4", "L10")
def test_the_reports_bear_the_time_stamp_of_the_run_and_say_pass(passing: Session) -> None:
    stamp = passing.events("run_started")[0]["timestamp"]
    assert re.fullmatch(r"\d{4}(_\d\d){5}", stamp)
    action = passing.project / "docs" / "action"
    names = {
        f"train-to-inference-report-{stamp}.md",
        f"zelda-2025-git-evidence-{stamp}.md",
        f"wandb-analysis-{stamp}.md",
        f"train-to-inference-retrospective-{stamp}.md",
        f"auto-training-loop-report-{stamp}.md",
        f"validation-{stamp}.html",
    }
    assert names <= {path.name for path in action.iterdir()}
    assert all("**Verdict: PASS**" in (action / name).read_text() for name in names if name.endswith(".md"))
    assert json.loads((action / f"wandb-analysis-{stamp}.json").read_text())["run"] == passing.run.name
    assert list((action / "plots" / f"wandb-analysis-{stamp}").glob("*.png"))
    assert len(list((passing.project / "inference_results").glob("inference_results_gt_vs_pred_*.png"))) == 1
    assert all(name in passing.output for name in names)
    assert "\nA7  inference_results/inference_results_gt_vs_pred_" in passing.output


@pytest.mark.requirement("A6")
def test_each_gate_line_of_the_training_loop_report_names_launcher_and_devices(passing: Session) -> None:
    pids = [event["launcher_pid"] for event in passing.events("chunk_finished")]
    report = passing.report("A6")
    for pid in pids:
        assert re.search(rf"launcher {pid}\b.*dual_gpu_ok unknown", report)


def test_terminal_and_report_count_the_requirements_alike(passing: Session) -> None:
    (summary,) = [line for line in passing.output.splitlines() if line.startswith("requirements: ")]
    assert f"{summary.removeprefix('requirements: ')}." in passing.report("A1")
    assert sum(map(int, re.findall(r"\d+", summary))) == len(REQUIREMENTS)


@pytest.mark.requirement("A8")
@pytest.mark.parametrize("width_px", [1280, 400])
def test_the_whole_page_fits_a_real_browser(passing: Session, tmp_path: Path, width_px: int) -> None:
    measured = measure_page(passing.page.read_text(encoding="utf-8"), width_px, tmp_path)
    # The frame that the page is measured in has no address, so pytest-html's sorting cannot write one.
    assert [line for line in measured["console"] if "pushState" not in line] == []
    assert "PASS: the run passed" in measured["text"]
    assert measured["images"]
    assert all(natural > 0 and shown <= width_px for natural, _, shown in measured["images"])
    assert measured["scroll_width"] <= width_px
    tops = measured["tops"]
    assert 0 < tops[".banner"] < 200, "the verdict comes first"
    assert tops[".banner"] < tops["#results-table"] < tops["#environment"], "pytest-html's environment comes last"


@pytest.mark.requirement("A8")
def test_the_page_is_one_file_that_loads_nothing_and_shows_its_pictures(passing: Session) -> None:
    page = passing.page.read_text(encoding="utf-8")
    sources = re.findall(r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?([^"'\s>]+)""", page)
    sources += re.findall(r"""<link[^>]*\shref=["']?([^"'\s>]+)""", page)
    pictures = [source for source in sources if source.startswith("data:image/png;base64,")]
    assert len(pictures) >= 2, "the rollout and at least one plot"
    assert [source[:80] for source in sources if not source.startswith("data:")] == []
    assert "url(http" not in page
    assert "@import" not in page


@pytest.mark.requirement("A8")
def test_text_from_the_command_line_is_escaped_on_the_page(passing: Session) -> None:
    page = passing.page.read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(" in page


def test_the_junit_file_is_valid_and_names_every_test_and_every_requirement(passing: Session) -> None:
    cases = passing.cases()
    assert len(cases) == len(REQUIREMENTS) + 1
    assert all(case.get("name") and case.get("classname") for case in cases)
    assert junit_problems(passing.junit) == []
    properties = suite_properties(passing.junit)
    assert {name.removeprefix("requirement.") for name, _ in properties if name.startswith("requirement.")} == {
        *REQUIREMENTS
    }
    values = dict(properties)
    assert re.fullmatch(r"PASS: .* \[validation/test_03_inference_gate\.py::test_\w+\[G5\]\]", values["requirement.G5"])
    assert values["requirement.H6"].startswith("NOT-RUN: needs 2 NVIDIA GPUs, found 0")
    assert values["tinyworlds_gate.run"] == f"results/{passing.run.name}"
    assert re.match(rf"{PASSED} 0\.0", values["tinyworlds_gate.verdict"])


def test_the_summary_of_the_job_shows_verdict_numbers_gaps_and_files(passing: Session) -> None:
    text = (passing.project / STEP_SUMMARY).read_text(encoding="utf-8")
    measures = passing.events("gate_verdict")[0]["measures"]
    began = r"## Closed loop: PASS\n\nThe strict autoregressive \(\d+ steps fed back\) rollout error 0\.0"
    assert re.match(began, text)
    assert f"| 1 | PASS | {measures['mse']:.4g} ({measures['mse_low']:.4g} to {measures['mse_high']:.4g}) |" in text
    assert "| L3 H6 | NOT-RUN | needs 2 NVIDIA GPUs, found 0" in text
    assert "Missing evidence" not in text
    named = re.findall(r"^- `([^`]+)`: ", text, re.M)
    assert named[0] == passing.page.relative_to(passing.project).as_posix()
    assert len(named) == 9
    assert [name for name in named if not (passing.project / name).is_file()] == []


@pytest.mark.requirement("L10")
def test_the_artifact_of_the_workflow_is_enough_to_write_the_reports_again(
    passing: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/gate.yml").read_text(encoding="utf-8"))
    for pattern in workflow["jobs"]["smoke"]["steps"][-1]["with"]["path"].split():
        for path in passing.project.glob(pattern.rstrip("/")):
            target = tmp_path / path.relative_to(passing.project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, target) if path.is_dir() else shutil.copy(path, target)
    run = tmp_path / "results" / passing.run.name
    assert not list(run.rglob("*.pt"))
    before = {path: path.read_bytes() for path in (tmp_path / "docs/action").glob("*.json")}
    assert main(["report", str(run)]) == 0, capsys.readouterr().out
    assert re.search(rf"^{PASSED}", capsys.readouterr().out, re.M)
    # The artifact has no frames and no checkpoints, and the sentence of the verdict says what follows from that.
    note = rb" The verdict is the recorded one; its files were not judged again: [^\"\n]*"
    assert {path: re.sub(note, b"", path.read_bytes()) for path in before} == before


def test_the_output_without_a_terminal_is_plain_and_short_lines(passing: Session) -> None:
    assert "\r" not in passing.output
    assert "\x1b" not in passing.output
    assert [line for line in passing.output.splitlines() if len(line) > LONGEST_LINE] == []
    assert passing.output.count(" s left") <= 8, "a line of progress every 15 s at most"


def test_a_skip_points_to_the_test_and_not_into_the_harness(passing: Session) -> None:
    places = re.findall(r"^SKIPPED \[\d+\] (\S+):\d+: ", passing.output, re.M)
    files = {
        "validation/test_01_preparation.py",
        "validation/test_03_inference_gate.py",
        "validation/test_04_training_rules.py",
        "validation/test_05_reports.py",
    }
    assert set(places) == files


@pytest.mark.requirement("L2", "H5")
def test_nothing_of_the_session_runs_on(passing: Session) -> None:
    assert passing.events("run_finished")[0]["status"] == "passed"
    assert processes_of(passing.project) == []
    assert (passing.project / "results" / ".tinyworlds_gate.lock").read_text() == ""


def test_no_stage_has_seen_a_held_out_episode(passing: Session) -> None:
    data = passing.events("dataset_ready")[0]
    assert data["name"] == GAME
    assert (data["train_episodes"], data["held_out_episodes"]) == (30, 10)
    raw = json.loads((passing.project / passing.events("inference_finished")[0]["measures_file"]).read_text())
    assert len({clip["episode"] for clip in raw["clips"]}) == 5
