"""Full disks, files that may not grow, disks without inodes, read-only folders: the rows of rows_disk.py.

Each way to be full has two forms: a real small disk (a tmpfs, where the right to mount is given) and a file-size limit,
which needs no right at all.

pytest tests/faults/test_disk.py -m "slow or not slow"
"""

from __future__ import annotations

import re
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import BeginScene
from tests.faults.ranks import STAGE, UPDATES, RankProject, rank_project
from tests.faults.runs import reports_of
from tests.faults.walkers import walking_project, when_said
from tests.helpers.commands import python
from tests.helpers.fake_stages import FakeProject
from tests.helpers.required_tools import without
from tests.helpers.small_disks import (
    FILL,
    fill_the_disk,
    free_the_disk,
    read_only,
    small_disk,
    why_no_disk,
)
from tests.helpers.tiny_project import Session, make_project, run_pytest, runs
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.errors import DiskError
from tinyworlds_gate.gate.attempt import run_attempt
from tinyworlds_gate.loop.inference_gate import inference_job
from tinyworlds_gate.loop.stage_controller import StageController
from tinyworlds_gate.run.formats import duration_text
from tinyworlds_gate.targets.embedded import embedded_target

DISKS = ["file-size limit", "small disk"]


Disks = Callable[..., None]


@pytest.fixture
def disk_of() -> Iterator[Disks]:
    """``disk_of(kind, folder)`` makes a small disk for the kind that wants one; skips where none can be made.

    Ask for it before ``scene``, whose ledger looks at the disk when the test is over.
    """
    with ExitStack() as stack:

        def make(kind: str, folder: Path, **options: Any) -> None:
            if kind == "small disk":
                problem = why_no_disk()
                if problem is not None:
                    without("mounts", problem)
                stack.enter_context(small_disk(folder, **options))

        yield make


def train_on(project: RankProject | FakeProject, target: int) -> None:
    """The same run once the disk is free again: it goes on where its journal stops, and passes."""
    controller = StageController(project.context, STAGE, {})
    result = controller.train(target, so_far=project.context.journal.events())
    assert (result.verdict, result.updates) == ("PASS", target), result.reason


def trained_by_one(root: Path, scene: BeginScene) -> RankProject:
    """A run whose stage really trains, in one process."""
    project = rank_project(root, scene)
    options = {"monitor_interval_sec": 0.5, "nproc_per_node": 1}
    project.context.settings = resolve_settings(project.context.settings.config_dir, options, project_root=root)
    return project


def fill(leave: int = 0) -> str:
    """Code of a stage that fills the disk under its run's folder."""
    return f"{FILL}\nfill_the_disk(os.environ['NG_RUN_ROOT_DIR'], {leave})"


LIMIT = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


@pytest.mark.fault("disk-full-checkpoint")
@pytest.mark.requirement("S4")
@pytest.mark.parametrize("kind", [pytest.param(DISKS[0], marks=pytest.mark.slow), DISKS[1]])
def test_a_disk_that_is_full_when_a_checkpoint_is_due_stops_the_run_and_keeps_the_earlier_one(
    tmp_path: Path, disk_of: Disks, scene: BeginScene, kind: str
) -> None:
    disk_of(kind, tmp_path / "results")
    project = trained_by_one(tmp_path, scene)
    project.arm(LIMIT.format(size=65536) if kind == DISKS[0] else fill(leave=65536), rank=0, update=14)
    with pytest.raises(DiskError, match=r"The disk is full: free some space, then go on with --resume-run results/"):
        project.train()
    (failed,) = project.events("chunk_finished")
    assert (failed["cause"], failed["failure"]["cause"]) == ("disk_full", "disk_full")
    assert re.search(r"File too large|No space left on device|free", failed["failure"]["reason"])
    assert project.events("retune") == [], "no smaller batch makes a disk larger"
    assert failed["continue_from"]["step"] == 11
    reports = reports_of(project.context.layout)
    assert f"It stopped on a full disk after {duration_text(failed['wall_s'])}. " in reports["A6"]
    if kind == "small disk":
        free_the_disk(project.context.layout.root)
    train_on(project, UPDATES)
    assert [event["start_update"] for event in project.events("chunk_started")] == [0, 12]


@pytest.mark.fault("disk-full-log")
@pytest.mark.requirement("S4", "M1")
@pytest.mark.parametrize("kind", DISKS)
def test_a_disk_that_takes_not_one_byte_more_stops_the_run_though_the_stage_cannot_say_why(
    tmp_path: Path, disk_of: Disks, scene: BeginScene, kind: str
) -> None:
    # Log, heartbeats and history: the limit lets the log say its sentence, the full disk not even that.
    to_the_last_byte = f"{fill()}\ntry:\n    while True: os.write(1, b'x' * 63 + b'\\n')\nexcept OSError: pass"
    disk_of(kind, tmp_path / "results")
    project = walking_project(tmp_path, scene)
    project.plan(STAGE, {}, {"at": 6, "do": LIMIT.format(size=1200) if kind == DISKS[0] else to_the_last_byte})
    with pytest.raises(DiskError):
        StageController(project.context, STAGE, {}).train(8)
    if kind == "small disk":
        free_the_disk(project.context.layout.root)
    finished = project.events("chunk_finished")
    if kind == "file-size limit":
        assert [event["cause"] for event in finished] == ["ok", "disk_full"]
    assert project.events("retune") == []
    train_on(project, 8)
    assert project.lives(STAGE)[2]["checkpoint"].endswith("video_tokenizer_step_3")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process may grow past ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.fault("disk-full-journal")
@pytest.mark.requirement("S4")
@pytest.mark.parametrize("kind", DISKS)
def test_a_journal_that_cannot_be_written_stops_the_run_with_its_last_line_whole(
    tmp_path: Path, disk_of: Disks, scene: BeginScene, kind: str
) -> None:
    disk_of(kind, tmp_path / "results")
    project = walking_project(tmp_path, scene)
    layout = project.context.layout
    with ExitStack() as until_freed:

        def act() -> None:
            if kind == "small disk":
                fill_the_disk(layout.root)
                until_freed.callback(free_the_disk, layout.root)
            else:
                until_freed.enter_context(file_size_limit(layout.journal.stat().st_size + 100))

        when_said(project, "gate S1 says", act)
        with pytest.raises(
            DiskError, match=r"(Cannot write the journal|was not written).*(File too large|No space left)"
        ):
            StageController(project.context, STAGE, {}).train(8)
    assert layout.journal.read_bytes().endswith(b"}\n")
    assert project.events("stage_gate")
    train_on(project, 8)


@pytest.mark.fault("disk-full-inference")
@pytest.mark.requirement("L6", "G1")
@pytest.mark.parametrize("kind", DISKS)
def test_a_disk_that_is_full_when_inference_writes_stops_the_run_without_a_verdict_on_the_model(
    tmp_path: Path, disk_of: Disks, scene: BeginScene, kind: str
) -> None:
    disk_of(kind, tmp_path / "results")
    project = walking_project(tmp_path, scene)
    context = project.context
    code = LIMIT.format(size=65536) if kind == DISKS[0] else fill()
    write = "open(os.environ['NG_RUN_ROOT_DIR'] + '/measures', 'wb').write(bytes(1 << 20))"
    context.target.inference_script.write_text(f"import os\n{code}\n{write}\n")
    nowhere = {stage: CheckpointRef(stage, 0, tmp_path / stage, "0" * 64, 1) for stage in context.target.stage_scripts}
    try:
        with pytest.raises(DiskError, match=r"(The disk is full: free some space|Cannot write the journal)"):
            run_attempt(inference_job(context), 1, nowhere)
    finally:
        if kind == "small disk":
            free_the_disk(context.layout.root)
    assert project.events("gate_verdict") == []


# Whole sessions.


def stage_script(project: Path) -> Path:
    return embedded_target(project, Path("configs/profiles/smoke")).stage_script("video_tokenizer")


AFTER_PREPARATION = '''

import os, pathlib, resource
import pytest


@pytest.fixture(autouse=True, scope="session")
def a_disk_that_fills_up(closed_loop):
    """After the run was prepared."""
    DO
'''


def prepared_session(project: Path, do: str) -> Session:
    """A session whose disk fills up once the run was prepared; it trains nothing."""
    conftest = project / "conftest.py"
    do = do.strip().replace("\n", "\n    ")
    conftest.write_text(conftest.read_text() + AFTER_PREPARATION.replace("DO", do))
    return run_pytest(project, "validation", "-m", "smoke", "-k", "preparation")


@pytest.mark.fault("disk-full-reports")
@pytest.mark.requirement("L10", "H4")
@pytest.mark.parametrize("kind", DISKS)
def test_reports_that_cannot_be_written_lose_no_verdict(
    tmp_path: Path, disk_of: Disks, scene: BeginScene, kind: str
) -> None:
    project = make_project(tmp_path / "project")
    scene(project, stage_script(project))
    actions = project / "docs" / "action"
    disk_of(kind, actions)
    if kind == "small disk":
        session = prepared_session(project, f"{FILL}\nfill_the_disk('docs/action')")
    else:
        limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))"
        session = prepared_session(project, limit)
    assert session.exit_status == 1, session.output
    assert "NOT-RUN: the test of the inference gate was left out" in session.output
    assert re.search(
        r"the record of this run is not complete: Cannot write .*(File too large|No space left on device)",
        session.output,
    )
    assert f"run folder: results/{session.run.name}" in session.output
    assert "Traceback" not in session.output
    if kind == "small disk":
        free_the_disk(actions)
    done = python("-m", "tinyworlds_gate", "report", f"results/{session.run.name}", cwd=project)
    assert "A1  docs/action/" in done.stdout, done.stdout + done.stderr
    assert len(list(actions.glob("*.md"))) == 5


@pytest.mark.fault("read-only-output")
@pytest.mark.requirement("L10")
@pytest.mark.parametrize("name", ["results", "Logs", "docs/action", "inference_results"])
def test_a_read_only_output_folder_is_reported_before_anything_trains(
    tmp_path: Path, scene: BeginScene, name: str
) -> None:
    problem = why_no_disk()
    if problem is not None and tmp_path.stat().st_uid == 0:
        without("mounts", problem)
    project = make_project(tmp_path / "project")
    scene(project, stage_script(project))
    with read_only(project / name):
        session = run_pytest(project, "validation", "-m", "smoke", timeout_s=60)
    assert session.exit_status in (1, 4), session.output
    assert re.search(rf"{name}\b.*(Read-only file system|Permission denied)", session.output), session.output
    assert "Traceback" not in session.output
    assert runs(project) == [] or session.events("chunk_started") == []


@pytest.mark.fault("no-inodes")
@pytest.mark.requirement("L10", "S4")
def test_a_disk_without_inodes_is_reported_before_anything_trains(
    tmp_path: Path, disk_of: Disks, scene: BeginScene
) -> None:
    project = make_project(tmp_path / "project")
    scene(project, stage_script(project))
    disk_of("small disk", project / "results", inodes=4)
    session = run_pytest(project, "validation", "-m", "smoke", timeout_s=60)
    assert runs(project) == []
    assert session.exit_status == 1, session.output
    assert re.search(r"results/.*: No space left on device\..*free", session.output, re.IGNORECASE), session.output
    assert "Traceback" not in session.output


@pytest.mark.slow
@pytest.mark.fault("no-inodes")
@pytest.mark.requirement("L10", "S4")
def test_a_disk_that_runs_out_of_inodes_counts_as_full(tmp_path: Path, disk_of: Disks, scene: BeginScene) -> None:
    take_all = (
        "folder = pathlib.Path(os.environ['NG_RUN_ROOT_DIR'])\n"
        "try:\n"
        "    for number in range(100_000): (folder / f'filler_{number}').touch()\n"
        "except OSError: pass"
    )
    disk_of("small disk", tmp_path / "results", inodes=400)
    project = trained_by_one(tmp_path, scene)
    project.arm(take_all, rank=0, update=14)
    with pytest.raises(DiskError, match="No space left on device"):
        project.train()
    (failed,) = project.events("chunk_finished")
    assert (failed["cause"], failed["continue_from"]["step"]) == ("disk_full", 11)
    for filler in project.context.layout.root.glob("filler_*"):
        filler.unlink()
    train_on(project, UPDATES)
