"""`--dataset` in real sessions: no file is edited, and a missing file starts nothing.

pytest tests/loop/test_another_dataset.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.tiny_project import read_journal, run_pytest, runs, started, wait_until, write_game

WORDS = ("validation", "-m", "smoke", "-p", "no:cacheprovider")


def test_a_dataset_without_a_file_is_a_usage_error_and_starts_nothing(project: Path) -> None:
    session = run_pytest(project, *WORDS, "--dataset", "stripes")
    assert session.exit_status == 4
    sentence = f"--dataset STRIPES needs the frames file {project}/data/stripes_frames.h5, which does not exist"
    assert f"{sentence} (found there: BARS); fix: run `tinyworlds-gate data import" in session.output
    assert runs(project) == []


@pytest.mark.slow
@pytest.mark.requirement("P1")
def test_a_killed_run_goes_on_with_its_dataset_and_with_no_other(project: Path) -> None:
    write_game(project / "data" / "stripes_frames.h5", seed=5, white=200)
    words = (*WORDS, "--dataset", "stripes", "--train-stage", "video_tokenizer", "--target-updates", "5")
    with started(project, *words) as process:
        wait_until(lambda: any(read_journal(run, "chunk_started") for run in runs(project)), process, "a stage trained")
        process.kill()
        process.wait()
    (run,) = runs(project)
    other = run_pytest(project, *WORDS, "--resume-run", run.name, "--dataset", "BARS")
    assert other.exit_status == 4
    assert "was started with --dataset STRIPES, now --dataset BARS is given" in other.output
    session = run_pytest(project, *WORDS, "--resume-run", run.name, "--dataset", "Stripes")
    assert session.exit_status == 0, session.output
    for ready in session.events("dataset_ready"):
        assert (ready["name"], ready["path"]) == ("STRIPES", "data/stripes_frames.h5")
    for chunk in session.events("chunk_started"):
        assert "dataset=STRIPES" in chunk["command"]
        assert f"data_path={project}/data/stripes_frames.h5" in chunk["command"]
    assert len(session.events("run_started")) == 2
