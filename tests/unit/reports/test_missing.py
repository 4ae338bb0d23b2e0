"""The check at a session's end that no report is missing (H4), and the command that writes them again.

Run: pytest tests/unit/reports/test_missing.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from tests.helpers import journal_samples as samples
from tests.helpers.journal_samples import STAMP, SampleRun
from tinyworlds_gate.cli import report as command
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.reports.missing import missing_reports
from tinyworlds_gate.reports.render import write_reports

ACTION = "docs/action"
FILES = {
    "A1": f"{ACTION}/train-to-inference-report-{STAMP}.md",
    "A2": f"{ACTION}/zelda-2025-git-evidence-{STAMP}.md",
    "A3": f"{ACTION}/wandb-analysis-{STAMP}.md",
    "A5": f"{ACTION}/train-to-inference-retrospective-{STAMP}.md",
    "A6": f"{ACTION}/auto-training-loop-report-{STAMP}.md",
}


@pytest.mark.requirement("A7")
def test_a_single_stage_needs_no_picture_of_inference_and_every_other_report(tmp_path: Path) -> None:
    stage = samples.single_stage(tmp_path)
    write_reports(stage.root, stage.folder)
    assert missing_reports(stage.root, stage.folder) == []
    (stage.root / FILES["A5"]).unlink()
    assert [id for id, _, _ in missing_reports(stage.root, stage.folder)] == ["A5"]


@pytest.fixture
def run(tmp_path: Path) -> SampleRun:
    """A passing run with all of its reports."""
    run = samples.passing(tmp_path)
    write_reports(run.root, run.folder)
    return run


def missing(run: SampleRun, page: Path | None = None) -> list[tuple[str, str, str]]:
    return [
        (key, path.relative_to(run.root).as_posix(), reason)
        for key, path, reason in missing_reports(run.root, run.folder, page)
    ]


@pytest.mark.requirement("H4", "A1", "A2", "A3", "A4", "A5", "A6", "A7")
def test_nothing_is_missing_after_a_whole_run(run: SampleRun) -> None:
    assert missing(run) == []


@pytest.mark.requirement("H4")
def test_a_failed_run_with_all_of_its_reports_misses_nothing(tmp_path: Path) -> None:
    failed = samples.failing(tmp_path)
    write_reports(failed.root, failed.folder)
    assert missing(failed) == []


@pytest.mark.requirement("H4")
@pytest.mark.parametrize("key", list(FILES))
def test_each_deleted_report_is_missed_with_its_path(run: SampleRun, key: str) -> None:
    (run.root / FILES[key]).unlink()
    assert missing(run) == [(key, FILES[key], "the file does not exist")]


@pytest.mark.requirement("H4")
@pytest.mark.parametrize("key", list(FILES))
def test_each_empty_report_is_missed(run: SampleRun, key: str) -> None:
    (run.root / FILES[key]).write_text("\n")
    assert missing(run) == [(key, FILES[key], "the file is empty")]


@pytest.mark.requirement("H4")
def test_a_report_without_a_verdict_sentence_is_missed(run: SampleRun) -> None:
    (run.root / FILES["A5"]).write_text("# Retrospective\n\nAll went well.\n")
    assert missing(run) == [("A5", FILES["A5"], "it has no verdict sentence")]


@pytest.mark.requirement("H4")
def test_a_report_of_another_run_under_this_name_is_missed(run: SampleRun) -> None:
    path = run.root / FILES["A1"]
    path.write_text(path.read_text(encoding="utf-8").replace("smoke_sample", "another_run"), encoding="utf-8")
    assert missing(run) == [("A1", FILES["A1"], "it is not about the run smoke_sample")]


@pytest.mark.requirement("H4", "A3")
def test_the_json_of_the_analysis_is_needed_too(run: SampleRun) -> None:
    name = FILES["A3"].replace(".md", ".json")
    (run.root / name).write_text("{ half")
    assert missing(run) == [("A3", name, "it is not JSON")]


@pytest.mark.requirement("H4", "A4")
def test_plots_that_are_gone_or_cut_short_are_missed(run: SampleRun) -> None:
    folder = run.root / ACTION / "plots" / f"wandb-analysis-{STAMP}"
    for plot in folder.glob("*.png"):
        plot.write_bytes(plot.read_bytes()[:100])
    assert missing(run) == [("A4", folder.relative_to(run.root).as_posix(), "it has no plot")]


@pytest.mark.requirement("H4", "A7")
def test_an_inference_picture_that_is_no_image_is_missed(run: SampleRun) -> None:
    [picture] = (run.root / "inference_results").glob("*.png")
    picture.write_bytes(b"not a picture")
    assert [(key, reason) for key, _, reason in missing(run)] == [("A7", "it does not exist or is no PNG image")]


@pytest.mark.requirement("H4")
def test_a_run_that_trained_nothing_misses_no_analysis(tmp_path: Path) -> None:
    run = samples.no_training(tmp_path)
    write_reports(run.root, run.folder)
    assert [key for key, _, _ in missing(run) if key in ("A3", "A4")] == []


@pytest.mark.requirement("H4")
def test_an_analysis_that_was_switched_off_is_missed_with_its_reason(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    off = {"verdict": "NOT-RUN", "reason": "switched off with --enable-wandb-analysis false"}
    run.add("wandb_analysis", **off, source=None, json=None, plots=[])
    write_reports(run.root, run.folder)
    assert ("A3", FILES["A3"], f"it says NOT-RUN: {off['reason']}") in missing(run)


@pytest.mark.requirement("H4")
def test_a_git_audit_without_a_repository_is_missed_with_its_reason(tmp_path: Path) -> None:
    from tinyworlds_gate.evidence.git_audit.audit import audit

    (tmp_path / "elsewhere" / "configs").mkdir(parents=True)
    (tmp_path / "elsewhere" / "configs" / "training.yaml").write_text("patch_size: 8\n")
    evidence = audit(tmp_path / "elsewhere", 2025)
    run = SampleRun(tmp_path / "project").prepare().train().infer(1, 0.02).evidence(git=evidence).finish()
    write_reports(run.root, run.folder)
    [(key, _, reason)] = missing(run)
    assert key == "A2"
    assert "it says INVALID: elsewhere is not in a git repository" in reason


@pytest.mark.requirement("H4", "A8")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "the page does not exist"),
        ("<html></html>", "it is not about the run smoke_sample"),
        ("<html>smoke_sample</html>", "it has no picture"),
    ],
)
def test_a_page_that_is_missing_or_without_pictures_is_missed(run: SampleRun, content: str | None, reason: str) -> None:
    page = run.root / "report.html"
    if content is not None:
        page.write_text(content)
    assert missing(run, page) == [("A8", "report.html", reason)]


@pytest.mark.requirement("A8")
def test_a_page_with_the_run_and_its_pictures_is_there(run: SampleRun) -> None:
    page = run.root / "report.html"
    page.write_text(page_with(run, picture_of(run)))
    assert missing(run, page) == []


def picture_of(run: SampleRun) -> bytes:
    name = next(event["picture"] for event in run.events if event["event"] == "inference_finished")
    return (run.root / name).read_bytes()


def page_with(run: SampleRun, *pictures: bytes, more: str = "") -> str:
    shown = "".join(f'<img src="data:image/png;base64,{b64encode(one).decode()}">' for one in pictures)
    return f"<html><body>{run.run}{shown}{more}</body></html>"


@pytest.mark.requirement("A8")
def test_a_page_that_does_not_open_alone_is_missed(run: SampleRun) -> None:
    page, picture = run.root / "report.html", picture_of(run)
    broken = {
        page_with(run, picture, more='<script src="https://example.org/x.js"></script>'): (
            "it is not self-contained: it loads https://example.org/x.js"
        ),
        page_with(run, picture, more='<link href="style.css">'): "it is not self-contained: it loads style.css",
        page_with(run, picture, picture[:-20]): "1 of its 2 pictures cannot be decoded as PNG",
        page_with(run, picture)[:-7]: "it is no whole HTML page: <html> or </html> is missing",
        page_with(run, OTHER_PNG): "the picture inference_results/inference_results_gt_vs_pred_",
    }
    for text, reason in broken.items():
        page.write_text(text)
        ((key, _, found),) = missing(run, page)
        assert key == "A8"
        assert found.startswith(reason), found


OTHER_PNG = b"\x89PNG\r\n\x1a\nIEND1234"


def parsed(folder: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(folder)])


@pytest.mark.requirement("L10")
def test_the_command_writes_the_reports_again_and_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = samples.passing(tmp_path)
    assert command.run(parsed(run.folder)) == 0
    out = capsys.readouterr().out
    assert f"A1  {FILES['A1']}" in out
    assert "PASS (before G8): MSE 0.0187 <= 0.03 on 64 held-out clips" in out


def test_the_command_exits_1_and_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(parsed(samples.interrupted(tmp_path).folder)) == 1
    assert f"missing A2: {FILES['A2']}: it says NOT-RUN" in capsys.readouterr().out


def test_the_command_refuses_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="is not a run's folder: expected <project>/results/<run>"):
        command.run(parsed(tmp_path))


@pytest.mark.requirement("L10")
def test_reports_are_written_without_torch(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    script = (
        "import sys; from pathlib import Path\n"
        "from tinyworlds_gate.reports.render import write_reports\n"
        "from tinyworlds_gate.reports.model import load_record\n"
        "from tinyworlds_gate.reports.page import summary_html\n"
        "root, folder = map(Path, sys.argv[1:])\n"
        "assert write_reports(root, folder) and summary_html(load_record(root, folder))\n"
        "print(sorted({'torch', 'pynvml', 'git', 'wandb'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(run.root), str(run.folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
