"""The process guard with real processes: it finds what belongs to the project, ends it, and touches nothing else.

pytest tests/test_process_guard.py
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
from tinyworlds_gate.launch.command import LAUNCH_VARIABLE, PROJECT_VARIABLE, RUN_ROOT_VARIABLE
from tinyworlds_gate.launch.ending import ENDED, GONE, end_launch, end_processes, end_stale, left_alone, send
from tinyworlds_gate.launch.processes import ProcessFacts, find_launch, find_stage_processes, tree_of
from tinyworlds_gate.run.identity import ProcessIdentity, identify
from tinyworlds_gate.targets.base import Target


def found_pids(target: Target) -> set[int]:
    return {process.pid for process in find_stage_processes(target)}


@pytest.mark.requirement("L1", "L2")
def test_a_stage_process_is_found_with_its_stage_and_command(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with running([sys.executable, "scripts/train_dynamics.py", "--api-key", "abcdef"], cwd=tmp_path) as process:
        first_line(process)
        (found,) = find_stage_processes(target)
    assert (found.pid, found.stage, found.launcher) == (process.pid, "dynamics", False)
    assert "train_dynamics.py" in found.facts.cmdline
    assert "abcdef" not in found.facts.cmdline


@pytest.mark.requirement("L1")
def test_the_script_resolves_from_the_working_directory_of_its_process(tmp_path: Path) -> None:
    target = make_project(tmp_path / "project")
    with running([sys.executable, "../scripts/train_dynamics.py"], cwd=tmp_path / "project" / "configs") as process:
        first_line(process)
        assert found_pids(target) == {process.pid}


@pytest.mark.requirement("L1")
def test_a_stage_started_as_a_module_is_found(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with running([sys.executable, "-m", "scripts.train_dynamics"], cwd=tmp_path) as process:
        first_line(process)
        assert found_pids(target) == {process.pid}


@pytest.mark.requirement("L1")
def test_bystanders_that_name_a_stage_script_are_not_found(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    script = target.stage_script("dynamics")
    other = tmp_path / "editor.py"
    other.write_text(SLEEPER)
    say = "import time; print('ready', flush=True); time.sleep(60)"
    with (
        running([shutil.which("tail") or "tail", "-f", script], cwd=tmp_path) as tail,
        running([sys.executable, "-c", f"{say}  # {script}", script], cwd=tmp_path) as string,
        running([sys.executable, other, script], cwd=tmp_path) as editor,
        running(["sh", "-c", f"echo ready; sleep 60; : {script}"], cwd=tmp_path) as shell,
    ):
        for process in (tail, string, editor, shell):
            first_line(process)
        assert find_stage_processes(target) == []


@pytest.mark.requirement("L1")
def test_another_clone_of_the_project_is_not_known(tmp_path: Path) -> None:
    ours, theirs = make_project(tmp_path / "ours"), make_project(tmp_path / "theirs")
    with stage_running(theirs) as process:
        assert found_pids(ours) == set()
        assert found_pids(theirs) == {process.pid}


@pytest.mark.requirement("L1")
def test_two_projects_with_one_installed_package_do_not_know_each_other(tmp_path: Path) -> None:
    installed = tmp_path / "site" / "scripts"
    ours = make_project(tmp_path / "ours", shared_scripts=installed)
    theirs = make_project(tmp_path / "theirs", shared_scripts=installed)
    with stage_running(theirs) as process:
        assert found_pids(ours) == set()
        assert found_pids(theirs) == {process.pid}


@pytest.mark.requirement("L1")
def test_the_run_root_in_the_environment_tells_the_project_too(tmp_path: Path) -> None:
    target = make_project(tmp_path / "ours", shared_scripts=tmp_path / "site")
    env = {**os.environ, RUN_ROOT_VARIABLE: str(target.root / "results" / "a")}
    with stage_running(target, cwd=tmp_path, env=env) as process:
        assert found_pids(target) == {process.pid}


@pytest.mark.requirement("L1")
def test_a_link_to_the_project_is_the_project(tmp_path: Path) -> None:
    target = make_project(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    with running([sys.executable, tmp_path / "link" / "scripts" / "train_dynamics.py"], cwd=tmp_path) as process:
        first_line(process)
        assert found_pids(target) == {process.pid}


@pytest.mark.requirement("L1")
def test_the_own_ancestors_are_never_found(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "code = '''\n"
        "import sys, pathlib\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from tests.helpers.process_projects import make_project\n"
        "from tinyworlds_gate.launch.ending import end_stale\n"
        "from tinyworlds_gate.launch.processes import find_stage_processes\n"
        "from tinyworlds_gate.targets.base import Target\n"
        "from tinyworlds_gate.run.layout import STAGES\n"
        "root = pathlib.Path.cwd()\n"
        "scripts = {stage: root / 'scripts' / f'train_{stage}.py' for stage in STAGES}\n"
        "target = Target('test', root, pathlib.Path(sys.executable), scripts, root / 'x', root)\n"
        "print(find_stage_processes(target), end_stale(target))\n"
        "'''\n"
        "subprocess.run([sys.executable, '-c', code, sys.argv[1]], check=True)\n"
        "print('the stage lives')\n"
    )
    make_project(tmp_path, script)
    repository = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "scripts/train_dynamics.py", str(repository)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "[] []\nthe stage lives\n"


@pytest.mark.requirement("L1")
def test_a_stale_stage_is_ended_by_sigterm_and_recorded(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with stage_running(target) as process:
        (record,) = end_stale(target)
        assert process.wait(timeout=5) == -signal.SIGTERM
    assert (record.pid, record.signal, record.outcome) == (process.pid, "SIGTERM", ENDED)
    assert set(record.as_record()) == {"pid", "age_s", "cmdline", "signal", "outcome"}
    assert 0 <= record.age_s < 60


@pytest.mark.requirement("L1")
def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    target = make_project(tmp_path, STUBBORN)
    with stage_running(target) as process:
        (record,) = end_processes(find_stage_processes(target), grace_s=0.3)
        assert process.wait(timeout=5) == -signal.SIGKILL
    assert (record.signal, record.outcome) == ("SIGKILL", ENDED)


@pytest.mark.requirement("L1")
def test_a_stopped_process_is_ended_too(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with stage_running(target) as process:
        os.kill(process.pid, signal.SIGSTOP)
        (record,) = end_processes(find_stage_processes(target), grace_s=5)
        assert process.wait(timeout=5) == -signal.SIGTERM
    assert record.outcome == ENDED


@pytest.mark.requirement("L1")
def test_a_child_in_a_session_of_its_own_ends_with_its_parent(tmp_path: Path) -> None:
    target = make_project(tmp_path, PARENT_OF_SESSIONS)
    with running([sys.executable, target.stage_script("dynamics")], cwd=tmp_path) as process:
        child = int(first_line(process).split()[1])
        records = end_stale(target)
    assert {record.pid for record in records} == {process.pid, child}
    assert not is_running(child)


@pytest.mark.requirement("L1")
def test_an_orphan_of_a_dead_launcher_is_found_by_the_marker_of_its_launch(tmp_path: Path) -> None:
    target = make_project(tmp_path, PARENT_OF_SESSIONS)
    env = {**os.environ, LAUNCH_VARIABLE: "launch-7", PROJECT_VARIABLE: str(target.root)}
    with running([sys.executable, target.stage_script("dynamics")], cwd=tmp_path, env=env) as process:
        orphan = int(first_line(process).split()[1])
        launcher = identify(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert [one.pid for one in find_launch("launch-7")] == [orphan]
        assert find_launch("launch-8") == []
        (record,) = end_launch("launch-7", launcher)
    assert (record.pid, record.outcome) == (orphan, ENDED)
    assert not is_running(orphan)


@pytest.mark.requirement("L1")
def test_orphans_of_an_earlier_run_of_this_project_are_stale(tmp_path: Path) -> None:
    target, other = make_project(tmp_path / "ours"), make_project(tmp_path / "theirs")
    helper = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]
    ours = {**os.environ, PROJECT_VARIABLE: str(target.root)}
    theirs = {**os.environ, PROJECT_VARIABLE: str(other.root)}
    with running(helper, cwd=tmp_path, env=ours) as left, running(helper, cwd=tmp_path, env=theirs) as foreign:
        first_line(left)
        first_line(foreign)
        assert [record.pid for record in end_stale(target)] == [left.pid]
        assert is_running(foreign.pid)


@pytest.mark.requirement("L1")
def test_a_reused_pid_is_not_signalled(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with stage_running(target) as process:
        identity = identify(process.pid)
        assert identity is not None
        earlier = ProcessIdentity(identity.pid, identity.start - 1.0)
        assert not send(earlier, signal.SIGKILL)
        (record,) = end_processes([ProcessFacts(earlier, 1, 9.0, "python scripts/train_dynamics.py")])
        assert is_running(process.pid)
    assert (record.signal, record.outcome) == (None, GONE)


def test_nothing_stale_is_an_empty_record(tmp_path: Path) -> None:
    assert end_stale(make_project(tmp_path)) == []


def test_a_process_that_was_left_alone_says_so(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with stage_running(target):
        record = left_alone(find_stage_processes(target)[0])
    assert (record.signal, record.outcome) == (None, "left alone")


def test_a_tree_holds_parents_before_children_and_no_zombies(tmp_path: Path) -> None:
    target = make_project(tmp_path, PARENT_OF_SESSIONS)
    with running([sys.executable, target.stage_script("dynamics")], cwd=tmp_path) as process:
        child = int(first_line(process).split()[1])
        assert [facts.pid for facts in tree_of([process.pid])] == [process.pid, child]
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: not is_running(child), "the child's end")
        assert [facts.pid for facts in tree_of([process.pid])] == [process.pid]
        end_stale(target)
