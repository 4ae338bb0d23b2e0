"""`--resume-run unfinished` in a whole session, as a nightly job calls it, and what the job's summary says then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.journals import rewrite_journal
from tests.helpers.junit_rules import junit_problems
from tests.helpers.tiny_project import STEP_SUMMARY, Session, read_journal, run_pytest, runs
from tinyworlds_gate.cli.main import main

WORDS = ("validation", "-m", "smoke", "--resume-run", "unfinished")


@pytest.fixture
def killed(passing: Session, tmp_path: Path) -> Path:
    """A copy of the passing project whose run was killed right after its verdict."""
    project = tmp_path / "project"
    shutil.copytree(passing.project, project, symlinks=True)
    run = project / "results" / passing.run.name
    stop = read_journal(run, "gate_verdict")[0]["seq"]
    rewrite_journal(run, lambda events: events[: stop + 1])
    (project / STEP_SUMMARY).unlink()
    return project


@pytest.mark.requirement("H7")
def test_a_killed_run_is_gone_on_with_and_a_finished_one_is_not(killed: Path, passing: Session) -> None:
    job = {"GITHUB_STEP_SUMMARY": str(killed / STEP_SUMMARY)}
    session = run_pytest(killed, *WORDS, variables=job)
    assert session.exit_status == 0, session.output
    assert f"{passing.run.name} is unfinished (it was killed between two steps): going on with it" in session.output
    assert [run.name for run in runs(killed)] == [passing.run.name]
    assert (killed / STEP_SUMMARY).read_text(encoding="utf-8").startswith("## Closed loop: PASS\n")
    again = run_pytest(killed, *WORDS, "-k", "preparation", variables=job)
    assert again.exit_status == 0, again.output
    assert f"{passing.run.name}, came to its end (passed): a new one begins" in again.output
    assert len(runs(killed)) == 2
    assert "resume_run" not in again.events("run_started")[0]["options"]
    assert junit_problems(again.junit) == []
    assert "\n## Closed loop: NOT-RUN\n\nThe test of the inference gate was left out" in (
        (killed / STEP_SUMMARY).read_text(encoding="utf-8")
    )


@pytest.mark.slow
@pytest.mark.requirement("H7")
def test_a_packed_run_goes_on_in_another_project(
    killed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (name,) = [run.name for run in runs(killed)]
    file = tmp_path / "run.zip"
    assert main(["runs", "--project-root", str(killed), "--pack", f"results/{name}", str(file)]) == 0
    elsewhere = tmp_path / "another machine"
    killed.rename(elsewhere)
    for folder in ("results", "Logs", "inference_results", "docs/action"):
        shutil.rmtree(elsewhere / folder)
    assert main(["runs", "--project-root", str(elsewhere), "--unpack", str(file)]) == 0
    assert f"--resume-run results/{name}" in capsys.readouterr().out
    session = run_pytest(elsewhere, *WORDS[:-1], f"results/{name}")
    assert session.exit_status == 0, session.output
    assert [run.name for run in runs(elsewhere)] == [name]
    assert read_journal(elsewhere / "results" / name, "run_finished")[-1]["status"] == "passed"


def test_a_summary_that_cannot_be_written_changes_no_verdict(killed: Path) -> None:
    words = ("validation", "-m", "smoke", "-k", "preparation")
    session = run_pytest(killed, *words, variables={"GITHUB_STEP_SUMMARY": str(killed / "no/such/folder.md")})
    assert session.exit_status == 0, session.output
    assert "the job summary $GITHUB_STEP_SUMMARY could not be written: " in session.output


def test_a_session_without_a_run_says_so_in_the_summary(killed: Path) -> None:
    (killed / "data").rename(killed / "moved")
    shutil.rmtree(killed / "Logs")
    (killed / "Logs").write_text("in the way")
    shutil.rmtree(killed / "results")
    summary = killed / "summary.md"
    session = run_pytest(killed, "validation", "-m", "smoke", variables={"GITHUB_STEP_SUMMARY": str(summary)})
    assert session.exit_status == 1, session.output
    assert summary.read_text().startswith(
        "## Closed loop: INVALID\n\nNo run was started. Cannot create the output folder"
    )
