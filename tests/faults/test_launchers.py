"""One launcher, one harness, and unrelated processes: the rows of rows_launchers.py.

pytest tests/faults/test_launchers.py
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.faults.conftest import BeginScene
from tests.faults.runs import STAMP, faulty_project, reports_of
from tests.faults.walkers import STAGE, walking_project, when_said, while_it_walks
from tests.helpers.config_files import REPOSITORY
from tests.helpers.fake_stages import FakeProject
from tests.helpers.lock_holders import HOLDER, HOLDER_WITH_FORKED_CHILD
from tests.helpers.process_projects import (
    PARENT_OF_SESSIONS,
    SLEEPER,
    STUBBORN,
    first_line,
    is_running,
    make_project,
    running,
    stage_running,
    wait_for,
)
from tests.helpers.required_tools import without
from tests.helpers.reused_pids import why_no_pid_can_be_chosen, with_pid
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.run_copy import copy_settings
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.findings.processes import single_launcher, stale_processes
from tinyworlds_gate.gate.attempt import run_attempt
from tinyworlds_gate.launch.command import PROJECT_VARIABLE
from tinyworlds_gate.launch.processes.end import end_processes, send
from tinyworlds_gate.launch.processes.find import ProcessFacts, find_stage_processes
from tinyworlds_gate.loop.closed_loop import ClosedLoop
from tinyworlds_gate.loop.inference_gate import inference_job
from tinyworlds_gate.loop.stage_controller import StageController
from tinyworlds_gate.names import LAUNCH_VARIABLE
from tinyworlds_gate.reference.data.datasets import dataset_path
from tinyworlds_gate.run.identity import ProcessIdentity, identify, is_zombie
from tinyworlds_gate.run.lock import ProjectLock

SECRET = "0123456789abcdef"
NOTHING_STALE = ("PASS", "no stale training process was found")


def prepared(project: FakeProject) -> ClosedLoop:
    """The loop after its preparation (lock, stale processes, configs, git, data), with nothing trained and closed."""
    context = project.context
    copy_settings(context.settings, context.layout.configs)
    training = context.settings.training
    path = dataset_path(context.layout.project_root, training.dataset, training.frame_size)
    path.parent.mkdir(exist_ok=True)
    episodes, length, side = 120, 20, training.frame_size
    with h5py.File(path, "w") as file:
        shape = (episodes * length, side, side, 3)
        file.create_dataset("frames", data=np.zeros(shape, np.uint8), chunks=(64, side, side, 3), compression="gzip")
        file.create_dataset("episode", data=np.repeat(np.arange(episodes), length))
    loop = ClosedLoop(context, STAMP)
    loop.prepare()
    loop.close()
    return loop


def found_before(project: FakeProject) -> list[dict[str, object]]:
    """What was ended before anything else (L1)."""
    (event,) = project.events("stale_processes")
    assert event["when"] == "before"
    ended: list[dict[str, object]] = event["ended"]
    return ended


@contextmanager
def stage_of(project: FakeProject, script: str, *words: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A stage process of the project that runs ``script`` and has said its first line."""
    path = project.context.target.stage_script("dynamics")
    path.write_text(script)
    root = project.context.layout.project_root
    with running([sys.executable, path, *words], cwd=root, env={**os.environ, **env}) as process:
        yield process


@pytest.mark.fault("launcher-before")
@pytest.mark.requirement("L1")
def test_a_stale_stage_is_ended_first_and_reported_without_its_secrets(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    with stage_of(project, SLEEPER, "--api-key", SECRET) as process:
        first_line(process)
        assert prepared(project).problem is None
        assert process.wait(timeout=5) == -signal.SIGTERM
    (record,) = found_before(project)
    assert (record["pid"], record["signal"], record["outcome"]) == (process.pid, "SIGTERM", "ended")
    assert record.keys() == {"pid", "age_s", "cmdline", "signal", "outcome"}
    assert stale_processes(project.context.journal.events()).verdict == "PASS"

    reports = reports_of(project.context.layout)
    row = reports["A1"].partition("## Processes that were ended")[2].partition("##")[0]
    assert f"| {process.pid} | before | " in row
    assert "train_dynamics.py" in row
    assert "| SIGTERM | ended |" in row
    assert not any(SECRET in text for text in [*reports.values(), project.context.layout.journal.read_text()])
    assert "1 left-over or extra training process(es) were ended." in reports["A5"]


@pytest.mark.fault("launcher-ignores-sigterm")
@pytest.mark.requirement("L1")
def test_a_stale_stage_that_ignores_sigterm_is_killed(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    with stage_of(project, STUBBORN) as process:
        first_line(process)
        prepared(project)
        assert process.wait(timeout=5) == -signal.SIGKILL
    (record,) = found_before(project)
    assert (record["signal"], record["outcome"]) == ("SIGKILL", "ended")
    assert "| SIGKILL | ended |" in reports_of(project.context.layout)["A1"]


@pytest.mark.fault("orphaned-worker")
@pytest.mark.requirement("L1")
def test_a_worker_whose_launcher_died_is_found_by_its_marker(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    root = str(project.context.target.root)
    with stage_of(project, PARENT_OF_SESSIONS, **{LAUNCH_VARIABLE: "launch-7", PROJECT_VARIABLE: root}) as process:
        orphan = int(first_line(process).split()[1])
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert is_running(orphan)
        prepared(project)
    assert not is_running(orphan)
    (record,) = found_before(project)
    assert (record["pid"], record["outcome"]) == (orphan, "ended")
    assert f"| {orphan} | before | " in reports_of(project.context.layout)["A1"]


def intrude(project: FakeProject) -> subprocess.Popen[bytes]:
    """Start another stage of the project, as a person would."""
    path = project.context.target.stage_script("latent_actions")
    path.write_text(SLEEPER)
    root = project.context.layout.project_root
    return subprocess.Popen([sys.executable, str(path)], cwd=root, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("when", "chunk"),
    [
        pytest.param("between", 2, marks=pytest.mark.fault("launcher-between-chunks")),
        pytest.param("during", 1, marks=pytest.mark.fault("launcher-during-chunk")),
    ],
)
@pytest.mark.requirement("L2", "H5")
def test_another_launcher_is_ended_and_the_chunks_count(
    tmp_path: Path, scene: BeginScene, when: str, chunk: int
) -> None:
    project = walking_project(tmp_path, scene)
    project.plan(STAGE, {"seconds_per_update": 0.7})
    intruders: list[subprocess.Popen[bytes]] = []

    def act() -> None:
        intruders.append(intrude(project))

    with ExitStack() as stack:
        if when == "during":
            stack.enter_context(while_it_walks(project, act))
        else:
            when_said(project, "gate S1 says", act)
        assert StageController(project.context, STAGE, {}).train(8).verdict == "PASS"
    (intruder,) = intruders
    assert intruder.wait(timeout=5) == -signal.SIGTERM

    chunks = project.events("chunk_finished")
    assert [event["cause"] for event in chunks] == ["ok", "ok"]
    extra = {event["chunk"]: event["extra_launchers"] for event in chunks}
    (record,) = extra.pop(chunk)
    assert (record["pid"], record["signal"], record["outcome"]) == (intruder.pid, "SIGTERM", "ended")
    assert list(extra.values()) == [[]]
    assert [one.verdict for one in single_launcher(project.context.journal.events())] == ["PASS", "PASS"]
    reports = reports_of(project.context.layout)
    assert f"| {intruder.pid} | chunk {chunk}, not part of it | " in reports["A1"]
    assert "Extra stage processes that were ended: 1." in reports["A6"]


@pytest.mark.fault("launcher-during-inference")
@pytest.mark.requirement("L2", "L6")
def test_training_that_starts_during_inference_is_ended(tmp_path: Path, scene: BeginScene) -> None:
    project = walking_project(tmp_path, scene)
    context = project.context
    context.target.inference_script.write_text("import time\nprint('begun', flush=True)\ntime.sleep(4)\n")
    intruders: list[subprocess.Popen[bytes]] = []
    when_said(project, "rolling out", lambda: intruders.append(intrude(project)))
    nowhere = {stage: CheckpointRef(stage, 0, tmp_path / stage, "0" * 64, 1) for stage in context.target.stage_scripts}
    run_attempt(inference_job(context), 1, nowhere)
    (intruder,) = intruders
    assert intruder.wait(timeout=5) == -signal.SIGTERM

    (finished,) = project.events("inference_finished")
    assert (finished["exit_code"], finished["ended"]) == (0, [])
    (record,) = finished["extra_launchers"]
    assert (record["pid"], record["outcome"]) == (intruder.pid, "ended")
    assert f"| {intruder.pid} | inference attempt 1, not part of it | " in reports_of(context.layout)["A1"]


# The lock.


@pytest.mark.fault("stale-lock")
@pytest.mark.requirement("L2", "H5")
@pytest.mark.parametrize("script", [HOLDER, HOLDER_WITH_FORKED_CHILD], ids=["alone", "with a forked child alive"])
def test_the_lock_of_a_killed_run_is_taken_over_and_reported(tmp_path: Path, scene: BeginScene, script: str) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    with running([sys.executable, "-c", script, tmp_path], cwd=REPOSITORY) as first:
        assert first_line(first) == "held\n"
        with pytest.raises(LaunchError, match=rf"PID {first.pid} on .*started \d{{4}}_\d\d_.*run first.*kill"):
            ProjectLock(tmp_path).acquire()
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert prepared(project).problem is None
    (message,) = [sentence for sentence in project.said if "took over the lock" in sentence]
    assert f"of a run that died: PID {first.pid} on " in message
    assert message.endswith("run first")


GARBAGE = {
    "bytes": b"\x00\xff\xfe garbage",
    "another shape": b'{"pid": 1}',
    "a list": b"[1, 2, 3]",
    "wrong types": b'{"pid": "x", "start": null, "host": 3, "since": "then", "run": []}',
    "an impossible time": b'{"pid": 1, "start": 1.0, "host": "h", "since": 1e300, "run": null}',
    "brackets": b"[" * 60_000,
}


@pytest.mark.fault("garbage-lock")
@pytest.mark.requirement("L2", "H5")
def test_a_lock_file_of_garbage_is_taken(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    lock = ProjectLock(tmp_path).path
    for name, content in GARBAGE.items():
        lock.write_bytes(content)
        with ProjectLock(tmp_path) as held:
            assert held.taken_over is None, name
            lock.write_bytes(content)
            with pytest.raises(LaunchError, match=r"Another run of the project .* is active.* Try again in a moment\."):
                ProjectLock(tmp_path).acquire()
    lock.write_bytes(GARBAGE["bytes"])
    assert prepared(project).problem is None
    assert not any("took over" in sentence for sentence in project.said)


@pytest.mark.fault("garbage-lock")
@pytest.mark.requirement("L2", "H5")
def test_a_lock_file_that_is_removed_while_it_is_taken_binds_nobody_to_the_removed_one(
    tmp_path: Path, scene: BeginScene
) -> None:
    scene(tmp_path, make_project(tmp_path).stage_script("dynamics"))
    # Three times another hand removes the file after this process has opened it and before it locks it.
    taker = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tinyworlds_gate.run.lock import ProjectLock\n"
        "lock, removals = ProjectLock(Path(sys.argv[1])), []\n"
        "def remove(event, arguments):\n"
        "    if event == 'fcntl.flock' and len(removals) < 3 and lock.path.exists():\n"
        "        removals.append(lock.path.unlink())\n"
        "sys.addaudithook(remove)\n"
        "with lock:\n"
        "    print('held', len(removals), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", taker, str(tmp_path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first_line(process) == "held 3\n"
    with pytest.raises(LaunchError, match=f"by PID {process.pid} on "):
        ProjectLock(tmp_path).acquire()
    process.communicate("", timeout=20)
    with ProjectLock(tmp_path) as lock:
        assert lock.path.exists()


# Who is not ours to end.

WAITS = "import time; print('ready', flush=True); time.sleep(60)"


def readers_of(script: Path, folder: Path) -> dict[str, list[str | Path]]:
    """Commands that have a stage script open or name it, and train nothing."""
    editor = folder / "editor.py"
    editor.write_text(SLEEPER)
    found: dict[str, list[str | Path]] = {
        "tail": ["tail", "-f", script],
        "grep": ["grep", "no such line", "-", script],
        "shell": ["sh", "-c", f"read line; : {script}"],
        "python -c": [sys.executable, "-c", f"{WAITS}  # {script}", script],
        "an editor in Python": [sys.executable, editor, script],
        "a debugger's prompt on another file": [sys.executable, "-m", "pdb", editor, script],
    }
    if (vim := shutil.which("vim") or shutil.which("vi")) is not None:
        found["vim"] = [vim, "-es", script]
    return found


@pytest.mark.fault("bystanders")
@pytest.mark.requirement("L1")
def test_who_only_reads_a_stage_script_is_left_alone(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    script = project.context.target.stage_script("dynamics")
    script.write_text(SLEEPER)
    with ExitStack() as stack:
        readers = {
            name: stack.enter_context(standing_by(command, tmp_path))
            for name, command in readers_of(script, tmp_path).items()
        }
        assert prepared(project).problem is None
        assert {name: reader.poll() for name, reader in readers.items()} == dict.fromkeys(readers)
    assert found_before(project) == []
    finding = stale_processes(project.context.journal.events())
    assert (finding.verdict, finding.reason) == NOTHING_STALE
    assert "Processes that were ended" not in reports_of(project.context.layout)["A1"]


@contextmanager
def standing_by(command: list[str | Path], cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with an open stdin that nobody writes to; it runs its program before this returns."""
    process = subprocess.Popen(
        [str(word) for word in command], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: is_running(process.pid), "its start")
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.fault("other-clone")
@pytest.mark.requirement("L1", "L2")
def test_training_in_another_clone_is_left_alone(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path / "ours", STAGE, scene)
    theirs = make_project(tmp_path / "theirs")
    (tmp_path / "link").symlink_to("theirs")
    module = [sys.executable, "-m", "scripts.train_dynamics"]
    elsewhere = {**os.environ, "PYTHONPATH": str(theirs.root)}
    with (
        stage_running(theirs) as script,
        running(module, cwd=theirs.root) as as_module,
        running([sys.executable, tmp_path / "link" / "scripts" / "train_dynamics.py"], cwd=tmp_path) as linked,
        running(module, cwd=tmp_path, env=elsewhere) as on_path,
    ):
        for process in (as_module, linked, on_path):
            first_line(process)
        assert prepared(project).problem is None
        training = {script.pid, as_module.pid, linked.pid, on_path.pid}
        assert {one.pid for one in find_stage_processes(theirs)} == training
        assert all(is_running(pid) for pid in training)
    assert found_before(project) == []
    assert (stale_processes(project.context.journal.events())).reason == NOTHING_STALE[1]


@pytest.mark.fault("other-user")
@pytest.mark.requirement("L1")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_another_users_training_is_left_alone(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    with stage_of(project, f"import os\nos.setuid(65534)\n{SLEEPER}") as process:
        first_line(process)
        assert prepared(project).problem is None
        assert is_running(process.pid)
    assert found_before(project) == []


@pytest.mark.fault("own-ancestor")
@pytest.mark.requirement("L1")
def test_the_own_ancestors_are_never_ended(tmp_path: Path, scene: BeginScene) -> None:
    script = (
        "import subprocess, sys\n"
        "code = '''\n"
        "import sys, pathlib\n"
        "from tinyworlds_gate.launch.processes.end import end_stale\n"
        "from tinyworlds_gate.launch.processes.find import find_stage_processes\n"
        "from tinyworlds_gate.targets.base import Target\n"
        "from tinyworlds_gate.run.layout import STAGES\n"
        "root = pathlib.Path.cwd()\n"
        "scripts = {stage: root / 'scripts' / f'train_{stage}.py' for stage in STAGES}\n"
        "target = Target('test', root, pathlib.Path(sys.executable), scripts, root / 'x', root)\n"
        "print(find_stage_processes(target), end_stale(target))\n"
        "'''\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\n"
        "print('the stage lives')\n"
    )
    target = make_project(tmp_path, script)
    scene(tmp_path, target.stage_script("dynamics"))
    done = subprocess.run(
        [sys.executable, "scripts/train_dynamics.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "[] []\nthe stage lives\n", done.stderr


@pytest.mark.fault("pid-reuse")
@pytest.mark.requirement("L1", "L2")
def test_a_bystander_that_got_the_pid_of_a_stale_process_is_not_signalled(tmp_path: Path, scene: BeginScene) -> None:
    problem = why_no_pid_can_be_chosen()
    if problem is not None:
        without("chosen-pids", problem)
    target = make_project(tmp_path)
    scene(tmp_path, target.stage_script("dynamics"))
    with stage_running(target) as stale:
        found = find_stage_processes(target)
        stale.kill()
    with with_pid(stale.pid, ["sleep", "60"]) as bystander:
        assert bystander.pid == found[0].pid
        (record,) = end_processes(found)
        assert not send(found[0].identity, signal.SIGKILL)
        assert bystander.poll() is None
    assert (record.pid, record.signal, record.outcome) == (stale.pid, None, "already gone")


@pytest.mark.fault("pid-reuse", no_scene="a process with an altered start represents the reused PID; nothing is run")
@pytest.mark.requirement("L1", "L2")
def test_a_process_with_another_start_is_not_signalled(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with stage_running(target) as process:
        identity = identify(process.pid)
        assert identity is not None
        earlier = ProcessIdentity(identity.pid, identity.start - 1.0)
        assert not send(earlier, signal.SIGKILL)
        (record,) = end_processes([ProcessFacts(earlier, 1, 9.0, "python scripts/train_dynamics.py")])
        assert is_running(process.pid)
    assert (record.signal, record.outcome) == (None, "already gone")


@pytest.mark.fault("zombie")
@pytest.mark.requirement("L1")
def test_a_process_that_only_waits_to_be_reaped_is_no_training(tmp_path: Path, scene: BeginScene) -> None:
    project = faulty_project(tmp_path, STAGE, scene)
    script = project.context.target.stage_script("dynamics")
    script.write_text("")
    process = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path)
    try:
        wait_for(lambda: is_zombie(process.pid), "the zombie")
        identity = identify(process.pid)
        assert identity is not None
        assert not identity.is_alive()
        assert prepared(project).problem is None
        assert is_zombie(process.pid)
    finally:
        process.wait()
    assert found_before(project) == []
