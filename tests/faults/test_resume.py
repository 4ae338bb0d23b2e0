"""The harness dies and the run is resumed: the rows of rows_resume.py.

pytest tests/faults/test_resume.py -m "slow or not slow"
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.resumed_runs import Kill, is_over, kill_something, outcome_of, resume
from tests.faults.runs import faulty_project, reports_of
from tests.helpers.fake_stages import FakeProject
from tests.helpers.tiny_project import (
    GAME,
    Session,
    make_project,
    read_journal,
    run_pytest,
    runs,
    started,
    wait_until,
    write_game,
)
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.findings.training import absolute_steps, chunk_checkpoints
from tinyworlds_gate.loop.resume import RunSoFar, settings_after
from tinyworlds_gate.loop.stage_controller import StageController
from tinyworlds_gate.run.journal import Journal

TOKENIZER = "video_tokenizer"
KILLS, SERIES = 2, 10
"""Twenty in all; `-n 10` runs the series beside each other."""
MEMORY: dict[str, object] = {"last_words": "torch.OutOfMemoryError: CUDA out of memory.", "save_at": 1, "die_at": 2}
LIVES: list[dict[str, object]] = [MEMORY, {}, {"losses": [0.5]}, {}]
"""Out of memory, the rest of the chunk, a gate that asks for a retune at the target, the chunk that it adds."""


def reopened(project: FakeProject, events: int) -> None:
    """Cut the journal after its first ``events`` events, and open it as a resumed run does."""
    journal = project.context.layout.journal
    project.context.journal.close()
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:events]))
    ended = sum(json.loads(line)["event"] == "chunk_finished" for line in lines[:events])
    for life in project.scripts.glob(f"life_{TOKENIZER}_*.json"):
        if int(life.stem.rsplit("_", 1)[1]) >= ended:
            life.unlink()
    project.context.journal = Journal(journal, project_root=project.context.layout.project_root)


def resumed_training(project: FakeProject, settings: Settings) -> StageController:
    """Train as a resumed run does: settings and state from the journal."""
    context = project.context
    so_far = RunSoFar(tuple(context.journal.events()))
    context.settings = settings_after(settings, so_far.events)
    context.chunks_started = so_far.chunks_started
    controller = StageController(context, TOKENIZER, {})
    controller.train(8, so_far=so_far.training(TOKENIZER))
    return controller


@pytest.mark.slow
@pytest.mark.fault("journal-cut-anywhere")
@pytest.mark.requirement("H7", "S4", "T1", "T2")
def test_a_training_that_is_cut_after_any_event_ends_as_if_it_never_was(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, TOKENIZER, scene, steps=[1, 3, 7, 11])
    project.plan(TOKENIZER, *LIVES)
    settings = project.context.settings
    whole = StageController(project.context, TOKENIZER, {})
    assert whole.train(8).updates == 12
    events = project.context.journal.events()
    first = next(number for number, event in enumerate(events) if event["event"] == "chunk_started")
    retunes = [event["id"] for event in events if event["event"] == "retune"]
    assert retunes == ["T1", "T2"]
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / "results", kept / "results")
    shutil.copytree(project.scripts, kept / "scripts")
    for cut in range(first + 1, len(events)):
        for name in ("results", "scripts"):
            shutil.copytree(kept / name, tmp_path / name, dirs_exist_ok=True)
        reopened(project, cut)
        again = resumed_training(project, settings)
        after = project.context.journal.events()
        where = f"cut after event {cut}, {events[cut - 1]['event']}"
        assert again.progress.checkpoint == whole.progress.checkpoint, where
        assert [event["id"] for event in after if event["event"] == "retune"] == retunes, where
        assert project.context.settings.stages == settings_after(settings, events).stages, where
        assert absolute_steps(after).verdict == chunk_checkpoints(after).verdict == "PASS", where
        if events[cut - 1]["event"] == "chunk_started":
            assert "was interrupted" in reports_of(project.context.layout)["A1"], where


@pytest.mark.fault("journal-torn")
@pytest.mark.requirement("H7")
def test_a_torn_last_line_is_written_anew(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, TOKENIZER, scene)
    settings = project.context.settings
    StageController(project.context, TOKENIZER, {}).train(8)
    journal = project.context.layout.journal
    project.context.journal.close()
    before = read_journal(project.context.layout.root)
    assert before[-1]["event"] == "stage_finished"
    torn = journal.read_bytes()[:-40]
    journal.write_bytes(torn)
    project.context.journal = Journal(journal, project_root=project.context.layout.project_root)
    assert torn.endswith(journal.with_name("journal.jsonl.torn").read_bytes()[:-1])
    resumed_training(project, settings)
    after = project.context.journal.events()
    assert [event["event"] for event in after] == [event["event"] for event in before]
    assert (after[-1]["verdict"], after[-1]["checkpoint"]) == (before[-1]["verdict"], before[-1]["checkpoint"])


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A loop whose harness got SIGKILL in the second chunk of dynamics, beside one that ran through."""
    project = make_project(tmp_path_factory.mktemp("killed") / "project")
    with started(project, "validation", "-m", "smoke") as process:
        wait_until(lambda: in_second_chunk(project), process, "the second chunk of dynamics")
        process.kill()
        output, _ = process.communicate()
    return Session(project, process.returncode, output, 0.0)


def in_second_chunk(project: Path) -> bool:
    """Whether dynamics' second chunk has saved something that its end will not be."""
    return any(project.glob("results/*/dynamics/checkpoints/dynamics_step_99"))


def copied(session: Session, folder: Path) -> Session:
    """The project of a killed run, to be treated badly."""
    project = shutil.copytree(session.project, folder / "project", symlinks=True)
    return Session(project, session.exit_status, session.output, 0.0)


@pytest.mark.fault("kill-harness-resume")
@pytest.mark.requirement("H7", "L2", "L8")
@pytest.mark.slow
def test_a_killed_run_is_resumed_and_ends_bit_identical(
    tmp_path: Path, scene: BeginScene, killed: Session, passing: Session
) -> None:
    session = copied(killed, tmp_path)
    held = scene(session.project, session.project / "validation/test_02_training.py")
    held.hold()
    edit_rate(session.project / "configs/profiles/smoke/dynamics.yaml")  # the run has its own copy
    ended = resume(session.project, session.run)
    assert ended.exit_status == 0, ended.output
    assert outcome_of(ended.run) == outcome_of(passing.run)
    last = [event for event in ended.events("chunk_started") if event["stage"] == "dynamics"][-1]
    assert (last["start_update"], last["end_update"]) == (100, 120)
    assert "The run was resumed." in ended.report("A1")
    assert "was interrupted" in ended.report("A1")
    again = resume(session.project, session.run)
    assert again.exit_status == 4
    assert "this run ended with passed, nothing is left to do" in again.output


@pytest.mark.fault("damaged-checkpoint-resume")
@pytest.mark.requirement("S4", "H7")
def test_a_damaged_checkpoint_is_replaced_by_an_older_one_on_resume(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, TOKENIZER, scene, steps=[1, 3, 7])
    project.plan(TOKENIZER, {"save_at": 1})
    settings = project.context.settings
    StageController(project.context, TOKENIZER, {}).train(4)
    reopened(project, len(project.context.journal.events()) - 1)  # killed before `stage_finished`
    weights = project.context.layout.checkpoint(TOKENIZER, 3) / "model_state_dict.pt"
    with weights.open("r+b") as file:
        file.truncate(900)
    again = resumed_training(project, settings)
    assert again.progress.done == 8
    (refused,) = project.events("checkpoint_refused")
    assert refused["used"]["step"] == 1
    assert "has 900 bytes" in refused["refused"][0]["reason"]
    report = reports_of(project.context.layout)["A1"]
    assert "A checkpoint of video_tokenizer was refused on resume; update 1 is used instead." in report
    assert absolute_steps(project.context.journal.events()).verdict == "PASS"


def edit_rate(file: Path) -> None:
    """Another learning rate in a stage's settings."""
    old = file.read_text(encoding="utf-8")
    file.write_text(old.replace("learning_rate: 0.003", "learning_rate: 0.004"), encoding="utf-8")
    assert file.read_text(encoding="utf-8") != old


@pytest.mark.fault("config-edited-before-resume")
@pytest.mark.requirement("P1")
def test_a_run_is_not_resumed_with_other_settings(tmp_path: Path, scene: BeginScene, killed: Session) -> None:
    session = copied(killed, tmp_path)
    scene(session.project, session.project / "validation/test_02_training.py")
    edit_rate(session.run / "configs/dynamics.yaml")
    ended = resume(session.project, session.run)
    assert ended.exit_status == 4, ended.output
    assert "the settings are not those that the run was started with" in ended.output
    assert "stages.dynamics.learning_rate was 0.003 and is now 0.004" in ended.output
    assert read_journal(ended.run) == read_journal(killed.run)
    other = resume(session.project, session.run, "--seed", "9")
    assert "was started without --seed, now --seed 9 is given" in other.output


@pytest.mark.fault("dataset-changed-before-resume")
@pytest.mark.requirement("H7")
def test_a_run_is_not_resumed_on_other_frames(tmp_path: Path, scene: BeginScene, killed: Session) -> None:
    session = copied(killed, tmp_path)
    scene(session.project, session.project / "validation/test_02_training.py")
    chunks = len(session.events("chunk_started"))
    write_game(session.project / "data" / f"{GAME.lower()}_frames.h5", episodes=44)
    ended = resume(session.project, session.run)
    assert ended.exit_status == 1, ended.output
    assert "the dataset was changed since" in ended.report("A1")
    assert len(ended.events("chunk_started")) == chunks


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.fault("random-kill-resume")
@pytest.mark.requirement("H7", "L2", "L8", "T5", "T6")
@pytest.mark.parametrize("series", range(SERIES))
def test_any_process_killed_at_any_moment_changes_nothing(tmp_path: Path, scene: BeginScene, series: int) -> None:
    project = make_project(tmp_path / "project")
    spare = scene(project, project / "validation/test_02_training.py").bystander.pid
    words = ["validation", "-m", "smoke", "--nproc-per-node", "2", "--dynamics-target-updates", "4"]
    first = run_pytest(project, *words)
    assert first.exit_status == 0, first.output
    wanted = outcome_of(first.run)
    attempts_and_final_draw = ["FAIL", "PASS", "PASS"]
    assert [verdict for verdict, _ in wanted.verdicts] == attempts_and_final_draw
    moments, kills = random.Random(series), list[Kill]()
    while len(kills) < KILLS:
        moment = moments.uniform(0.0, first.seconds)
        kill, session = kill_something(project, words, moment, seed=100 * series + len(kills), spare=spare)
        resumed = ""
        if session.exit_status != 0 and is_over(session.run):  # killed while the interpreter ended
            refused = resume(project, session.run)
            assert "this run ended with passed, nothing is left to do" in refused.output
            session, resumed = replace(session, exit_status=0), ", after its end"
        elif session.exit_status != 0:
            session = resume(project, session.run)
            resumed = ", resumed"
        if kill is not None:
            kills.append(kill)
            print(f"{series}.{len(kills)}: {kill}{resumed}: exit {session.exit_status}", flush=True)
        assert session.exit_status == 0, f"{kill}\n{session.output}"
        assert outcome_of(session.run) == wanted, kill
        for path in runs(project):
            if path != first.run:
                shutil.rmtree(path)
