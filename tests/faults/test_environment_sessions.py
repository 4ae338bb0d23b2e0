"""Whole sessions in hostile surroundings: rows of rows_environment.py.

pytest tests/faults/test_environment_sessions.py -m "slow or not slow"
"""

from __future__ import annotations

import os
import re
import shutil
import struct
from pathlib import Path

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.hostile_sessions import (
    bare_environment,
    run_on_terminal,
    run_with_reader_that_leaves,
    run_without_terminal,
)
from tests.faults.resumed_runs import outcome_of, resume
from tests.faults.scene import scene_of
from tests.helpers.config_files import append
from tests.helpers.stepped_clock import stepped_clock
from tests.helpers.tiny_project import GAME, Session, make_project, runs, started, wait_until

HOUR_S = 3600
PLACE = 'it\'s 100% "our" $HOME [run] #1: & done'
"""Blanks, quotes, a percent sign, and what shells, YAML, globs and git would take for something else."""
IN_THE_FIXTURE = "the session of these rows is over; its bystander and its ledger were held to in its fixture"
STAGE_FILE = "validation/test_02_training.py"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """The whole loop in such a place, without HOME, terminal, input or temporary folder, where text is ASCII."""
    project = make_project(tmp_path_factory.mktemp("hostile") / PLACE)
    env = bare_environment(
        TMPDIR=str(project / "no" / "such" / "folder"), LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"
    )
    with scene_of(project, project / STAGE_FILE):
        return run_without_terminal(project, env)


@pytest.mark.slow
@pytest.mark.fault("project-path", no_scene=IN_THE_FIXTURE)
@pytest.mark.requirement("H3", "L4", "A8")
def test_a_project_may_lie_in_a_folder_of_any_name(hostile: Session) -> None:
    assert hostile.exit_status == 0, hostile.output
    assert hostile.run.is_relative_to(hostile.project)
    assert hostile.project.name == PLACE
    assert hostile.found("L4")[0] == hostile.found("G2")[0] == "PASS"
    assert hostile.page.is_file()
    assert all(f"data_path={hostile.project}" not in event["log"] for event in hostile.events("chunk_started"))
    assert "**Verdict: PASS**" in hostile.report("A1")


@pytest.mark.slow
@pytest.mark.fault("no-home", no_scene=IN_THE_FIXTURE)
@pytest.mark.requirement("H3")
def test_a_run_needs_no_home(hostile: Session) -> None:
    assert hostile.events("run_finished")[0]["status"] == "passed", hostile.output
    assert not list(hostile.project.rglob(".cache")) + list(hostile.project.rglob(".config"))


@pytest.mark.slow
@pytest.mark.fault("no-terminal", no_scene=IN_THE_FIXTURE)
@pytest.mark.requirement("H3")
def test_a_run_needs_neither_a_terminal_nor_an_input(hostile: Session) -> None:
    assert hostile.events("run_finished")[0]["status"] == "passed", hostile.output
    assert "\x1b[" not in hostile.output, "no control sequences where nobody draws them"
    assert re.search(r"(?m)^\[gate\] dynamics: PASS: 120 updates taken", hostile.output)


@pytest.mark.slow
@pytest.mark.fault("ascii-terminal", no_scene=IN_THE_FIXTURE)
@pytest.mark.requirement("H3", "A1")
def test_a_run_needs_no_character_beyond_ascii(hostile: Session) -> None:
    assert hostile.events("run_finished")[0]["status"] == "passed", hostile.output
    assert hostile.output.isascii()
    assert "→" in hostile.report("A6"), "files are UTF-8 all the same"


@pytest.mark.slow
@pytest.mark.fault("no-temporary-folder", no_scene=IN_THE_FIXTURE)
@pytest.mark.requirement("H3")
def test_a_run_needs_no_temporary_folder_of_that_name(hostile: Session) -> None:
    assert hostile.events("run_finished")[0]["status"] == "passed", hostile.output
    assert not (hostile.project / "no").exists()


@pytest.mark.fault("reader-leaves")
@pytest.mark.requirement("L10")
def test_a_reader_of_the_output_that_leaves_does_not_end_the_run(tmp_path: Path, scene: BeginScene) -> None:
    project = make_project(tmp_path / "project")
    scene(project, project / STAGE_FILE)
    session = run_with_reader_that_leaves(project, bare_environment(HOME=str(tmp_path)), "-k", "preparation")
    assert session.exit_status == 0
    assert session.output.count("[gate]") == 1
    assert session.events("run_finished")[0]["exit_status"] == 0
    assert "its test was deselected" in session.report("A1")


@pytest.mark.fault("git-missing")
@pytest.mark.requirement("L4")
def test_a_machine_without_git_is_reported_and_the_audit_is_invalid(tmp_path: Path, scene: BeginScene) -> None:
    project = make_project(tmp_path / "project")
    scene(project, project / STAGE_FILE)
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "sh").symlink_to("/bin/sh")
    env = bare_environment(PATH=str(tmp_path / "programs"))
    session = run_without_terminal(project, env, "-k", "preparation")
    assert session.exit_status == 1, session.output
    assert session.found("L4")[0] == "INVALID"
    assert "The git program was not found, so the history cannot be read. Install git" in session.report("A1")
    assert "Traceback" not in session.output


@pytest.mark.slow
@pytest.mark.fault("tiny-terminal", "unwritable-home")
@pytest.mark.requirement("H3")
def test_a_terminal_of_twelve_columns_and_a_home_that_takes_no_files_are_enough(
    tmp_path: Path, scene: BeginScene
) -> None:
    project = make_project(tmp_path / "project")
    scene(project, project / STAGE_FILE)
    env = bare_environment(HOME="/proc", TERM="xterm", LC_ALL="C.UTF-8")
    session = run_on_terminal(project, env, columns=12, lines=3)
    assert session.exit_status == 0, session.output
    assert "\x1b[" in session.output, "it is a terminal"


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A whole loop in which the clock goes an hour forward, two files are edited, and the clock goes two hours back."""
    folder = tmp_path_factory.mktemp("disturbed")
    project, clock = make_project(folder / "project"), stepped_clock(folder)
    with pytest.MonkeyPatch.context() as patch, scene_of(project, project / STAGE_FILE):
        for name, value in clock.environment().items():
            patch.setenv(name, value)
        with started(project, "validation", "-m", "smoke") as process:
            patch.undo()
            wait_until(lambda: any(project.glob("results/*/heartbeats/*/*")), process, "the first update")
            clock.file.write_bytes(struct.pack("l", HOUR_S))
            append(project / "configs/profiles/smoke/dynamics.yaml", "max_grad_norm: 0.001")
            append(project / "configs/profiles/smoke/inference.yaml", "use_gt_actions: false")
            wait_until(lambda: any(project.glob("results/*/dynamics/checkpoints/*")), process, "dynamics")
            clock.file.write_bytes(struct.pack("l", -HOUR_S))
            output, _ = process.communicate(timeout=300)
    return Session(project, process.returncode, output, 0.0)


@pytest.mark.slow
@pytest.mark.fault("clock-step-loop", no_scene=IN_THE_FIXTURE)
@pytest.mark.requirement("H7", "G4")
def test_a_whole_loop_under_a_clock_that_is_set_twice_ends_bit_identical(disturbed: Session, passing: Session) -> None:
    assert disturbed.exit_status == 0, disturbed.output
    assert outcome_of(disturbed.run) == outcome_of(passing.run)
    times = [event["time"] for event in disturbed.events()]
    assert min(times) < times[0] - HOUR_S / 2
    assert max(times) > times[0] + HOUR_S / 2


@pytest.mark.slow
@pytest.mark.fault("config-edited-loop", no_scene=IN_THE_FIXTURE)
@pytest.mark.requirement("P1", "A5")
def test_a_whole_loop_whose_settings_files_are_edited_goes_on_with_its_own(
    disturbed: Session, passing: Session
) -> None:
    """The edits would change the weights, and the last one would be refused by the inference run."""
    assert outcome_of(disturbed.run) == outcome_of(passing.run)
    message = "configs/profiles/smoke/dynamics.yaml, configs/profiles/smoke/inference.yaml were changed during the run"
    assert message in disturbed.output
    assert message in " ".join(disturbed.report("A5").split())


@pytest.mark.slow
@pytest.mark.fault("run-folder-moved-loop")
@pytest.mark.requirement("H7", "S4")
def test_a_whole_loop_whose_folder_was_renamed_says_so_and_goes_on_once_it_is_back(
    tmp_path: Path, scene: BeginScene, passing: Session
) -> None:
    project = make_project(tmp_path / "project")
    held = scene(project, project / STAGE_FILE)
    away = tmp_path / "away"
    with started(project, "validation", "-m", "smoke") as process:
        wait_until(lambda: any(project.glob("results/*/heartbeats/*/*")), process, "the first update")
        (run,) = runs(project)
        os.rename(run, away)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert f"The run's folder {run} was renamed, removed or replaced while the run is going on. Put it back" in output
    assert "INTERNALERROR" not in output
    assert "Traceback" not in output
    shutil.rmtree(run, ignore_errors=True)  # what the stage wrote under the old name
    os.rename(away, run)
    held.hold()
    session = Session(project, process.returncode, output, 0.0, run)
    assert session.events("retune") == []
    assert [event["event"] for event in session.events()].count("chunk_finished") == 0
    ended = resume(project, run)
    assert ended.exit_status == 0, ended.output
    assert outcome_of(ended.run) == outcome_of(passing.run)


@pytest.mark.slow
@pytest.mark.fault("folders-removed-loop", no_scene="the ledger and the bystander are in the removed folder")
@pytest.mark.requirement("H7", "S4")
@pytest.mark.parametrize(
    ("folder", "said"),
    [
        (".", "was renamed, removed or replaced while the run is going on. Put it back"),
        (
            "results/*/logs",
            "is gone: a folder of the run was renamed or removed while the run is going on. Put it back",
        ),
        ("results/*/configs", "is this run's copy of its settings files, and it is gone while the run is going on."),
    ],
    ids=["project", "logs", "configs"],
)
def test_a_whole_loop_of_which_a_folder_was_removed_ends_with_a_sentence(
    tmp_path: Path, folder: str, said: str
) -> None:
    project = make_project(tmp_path / "project")
    with started(project, "validation", "-m", "smoke", "--max-mse", "1") as process:
        wait_until(lambda: any(project.glob("results/*/heartbeats/*/*")), process, "the first update")
        removed = project if folder == "." else next(project.glob(folder))
        removed.rename(tmp_path / "removed")  # at once; what the stage makes anew under the old name stays
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 1, output
    assert said in output
    assert "INTERNALERROR" not in output
    assert "Traceback" not in output
    if folder != ".":
        (run,) = runs(project)
        assert Session(project, process.returncode, output, 0.0, run).events("retune") == []
        ended = resume(project, run, "-k", "S1 or S2")
        assert ended.exit_status == 0, ended.output


@pytest.mark.slow
@pytest.mark.fault("dataset-deleted-loop")
@pytest.mark.requirement("H7", "L5", "A1")
def test_a_whole_loop_that_lost_its_frames_says_so_and_goes_on_once_they_are_back(
    tmp_path: Path, scene: BeginScene, passing: Session
) -> None:
    project = make_project(tmp_path / "project")
    held = scene(project, project / STAGE_FILE)
    frames, away = project / "data" / f"{GAME.lower()}_frames.h5", tmp_path / "away.h5"
    with started(project, "validation", "-m", "smoke") as process:
        wait_until(lambda: any(project.glob("results/*/heartbeats/*/*")), process, "the first update")
        os.rename(frames, away)
        output, _ = process.communicate(timeout=120)
    session = Session(project, process.returncode, output, 0.0, runs(project)[-1])
    held.hold()
    assert session.exit_status == 1, session.output
    message = f"The frames file data/{GAME.lower()}_frames.h5 is gone"
    assert message in session.output
    assert message in session.report("A1")
    assert {event["stage"] for event in session.events("chunk_started")} == {"video_tokenizer"}
    assert session.events("retune") == []
    os.rename(away, frames)
    ended = resume(project, session.run)
    assert ended.exit_status == 0, ended.output
    assert outcome_of(ended.run) == outcome_of(passing.run)
