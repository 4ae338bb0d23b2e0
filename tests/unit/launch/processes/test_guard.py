"""The process guard with real processes: it finds and ends those of the project and touches no others.

tests/faults/test_launchers.py tests stale and extra training in a whole run.

pytest tests/unit/launch/processes/test_guard.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.helpers.config_files import REPOSITORY
from tests.helpers.process_projects import (
    PARENT_OF_SESSIONS,
    STUBBORN,
    first_line,
    is_running,
    make_project,
    running,
    stage_running,
    wait_for,
)
from tinyworlds_gate.errors import LaunchError
from tinyworlds_gate.launch.command import PROJECT_VARIABLE, RUN_ROOT_VARIABLE
from tinyworlds_gate.launch.processes import end
from tinyworlds_gate.launch.processes.end import (
    ENDED,
    EndedProcess,
    end_launch,
    end_processes,
    end_stale,
    require_ended,
    skipped_record,
)
from tinyworlds_gate.launch.processes.find import (
    ProcessFacts,
    find_launch,
    find_stage_processes,
    own_ancestry,
    parents_first,
    tree_of,
)
from tinyworlds_gate.launch.processes.owner import OWNER_VARIABLE, owner_mark
from tinyworlds_gate.launch.processes.tree import descendants
from tinyworlds_gate.names import LAUNCH_VARIABLE
from tinyworlds_gate.run.identity import ProcessIdentity, identify, process_start
from tinyworlds_gate.targets.base import Target


def found_pids(target: Target) -> set[int]:
    return {process.pid for process in find_stage_processes(target)}


@pytest.mark.requirement("L3", "H5")
def test_the_descendants_of_a_process_are_all_below_it_whatever_they_are_called(tmp_path: Path) -> None:
    odd = tmp_path / "odd) R 1 name"
    odd.symlink_to("/bin/sleep")
    script = f"'{odd}' 60 & '{odd}' 60 & wait"
    with running(["/bin/sh", "-c", script], cwd=tmp_path) as shell:
        wait_for(lambda: len(descendants(shell.pid)) == 2, "two children")
        known = {child.pid for child in psutil.Process(shell.pid).children(recursive=True)}
        assert descendants(shell.pid) == known
        assert {shell.pid, *known} <= descendants(os.getpid())
        for pid in known:
            os.kill(pid, signal.SIGKILL)
    assert descendants(2**22 + 1) == set()


def test_our_ancestry_reaches_from_this_process_up_to_the_first() -> None:
    assert own_ancestry() >= {os.getpid(), os.getppid(), *(parent.pid for parent in psutil.Process().parents())}


@pytest.mark.requirement("L1", "L2")
def test_a_stage_process_is_found_with_its_stage_and_command(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with running([sys.executable, "scripts/train_dynamics.py", "--api-key", "abcdef"], cwd=tmp_path) as process:
        first_line(process)
        (found,) = find_stage_processes(target)
    assert (found.pid, found.stage, found.launcher) == (process.pid, "dynamics", False)
    assert "train_dynamics.py" in found.cmdline
    assert "abcdef" not in found.cmdline


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
def test_two_projects_with_one_installed_package_do_not_find_each_others_processes(tmp_path: Path) -> None:
    installed = tmp_path / "site" / "scripts"
    ours = make_project(tmp_path / "ours", shared_scripts=installed)
    theirs = make_project(tmp_path / "theirs", shared_scripts=installed)
    with stage_running(theirs) as process:
        assert found_pids(ours) == set()
        assert found_pids(theirs) == {process.pid}


@pytest.mark.requirement("L1")
def test_the_run_root_in_the_environment_identifies_the_project_too(tmp_path: Path) -> None:
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
def test_a_stopped_process_is_ended_too(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with stage_running(target) as process:
        os.kill(process.pid, signal.SIGSTOP)
        (record,) = end_processes(find_stage_processes(target), grace_s=5)
        assert process.wait(timeout=5) == -signal.SIGTERM
    assert record.outcome == ENDED


@pytest.mark.requirement("L1")
def test_a_process_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    target = make_project(tmp_path, STUBBORN)
    with stage_running(target) as process:
        (record,) = end_processes(find_stage_processes(target), grace_s=0.1)
        assert process.wait(timeout=5) == -signal.SIGKILL
    assert (record.signal, record.outcome) == ("SIGKILL", ENDED)


@pytest.mark.requirement("L1")
def test_leaves_are_signalled_before_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that ended first could report its children's end as a failure, or start them anew."""
    target = make_project(tmp_path, PARENT_OF_SESSIONS)
    signalled: list[tuple[int, int]] = []
    send = end.send

    def noted(identity: ProcessIdentity, number: int) -> bool:
        signalled.append((identity.pid, number))
        return send(identity, number)

    monkeypatch.setattr(end, "send", noted)
    with running([sys.executable, target.stage_script("dynamics")], cwd=tmp_path) as process:
        child = int(first_line(process).split()[1])
        records = end_processes(tree_of([process.pid]))
    assert signalled == [(child, signal.SIGTERM), (process.pid, signal.SIGTERM)]
    assert [record.pid for record in records] == [process.pid, child]


@pytest.mark.requirement("L1")
def test_what_started_meanwhile_is_ended_in_another_round(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with stage_running(target) as first, stage_running(target) as second:
        late = tree_of([second.pid])
        records = end_processes(tree_of([first.pid]), more=lambda: late)
        assert [process.wait(timeout=5) for process in (first, second)] == [-signal.SIGTERM] * 2
    assert [(record.pid, record.outcome) for record in records] == [(first.pid, ENDED), (second.pid, ENDED)]


WITHOUT_PERMISSION = """
import os, sys
import psutil
from tinyworlds_gate.launch.processes.end import end_processes, require_ended
from tinyworlds_gate.launch.processes.find import facts_of
facts = facts_of(psutil.Process(int(sys.argv[1])))
os.setuid(65534)
(record,) = end_processes([facts], grace_s=0.1, kill_wait_s=0.1)
print(record.outcome, record.signal, flush=True)
require_ended([record])
"""


@pytest.mark.requirement("L1")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up the right to signal its own process")
def test_a_process_that_may_not_be_signalled_has_not_ended_and_stops_the_run(tmp_path: Path) -> None:
    with stage_running(make_project(tmp_path)) as process:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_PERMISSION, str(process.pid)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert is_running(process.pid)
    assert done.stdout == "not permitted None\n", done.stderr
    assert done.returncode == 1
    assert f"LaunchError: PID {process.pid} (" in done.stderr
    assert "is not permitted after SIGTERM and SIGKILL" in done.stderr


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


@pytest.mark.requirement("L1", "L2")
@pytest.mark.parametrize("owner", ["alive", "dead", "of another PID namespace"])
def test_the_workers_of_another_live_harness_are_not_ended(tmp_path: Path, owner: str) -> None:
    target = make_project(tmp_path)
    parent = os.getppid()
    mark = json.loads(owner_mark())
    mark[:2] = [parent, process_start(parent) if owner == "alive" else 1.0]
    mark[4] = 7 if owner == "of another PID namespace" else mark[4]
    env = {**os.environ, PROJECT_VARIABLE: str(target.root), OWNER_VARIABLE: json.dumps(mark)}
    with stage_running(target, env=env) as process:
        if owner == "dead":
            assert [record.pid for record in end_stale(target)] == [process.pid]
            return
        with pytest.raises(LaunchError, match=rf"Another run of this project is active: PID {parent} on .* kill"):
            end_stale(target)
        assert is_running(process.pid)


def test_nothing_stale_is_an_empty_record(tmp_path: Path) -> None:
    assert end_stale(make_project(tmp_path)) == []


def test_the_record_of_a_skipped_process_has_that_outcome(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with stage_running(target):
        record = skipped_record(find_stage_processes(target)[0])
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


def test_parents_come_before_children_when_pids_have_wrapped_around() -> None:
    def facts(pid: int, parent: int) -> ProcessFacts:
        return ProcessFacts(ProcessIdentity(pid, 1.0), parent, 0.0, "python")

    members = [facts(5, 9), facts(7, 32_000), facts(32_000, 5), facts(9, 1)]
    assert [one.pid for one in parents_first(members)] == [9, 5, 32_000, 7]
    circle = [facts(5, 6), facts(6, 5)]
    assert {one.pid for one in parents_first(circle)} == {5, 6}


@pytest.mark.requirement("L1")
def test_a_process_that_survives_stops_the_run_with_its_pid() -> None:
    record = EndedProcess(77, 9.0, "python scripts/train_dynamics.py", "SIGKILL", "still alive")
    with pytest.raises(LaunchError, match=r"PID 77 \(python scripts/train_dynamics.py\) .* still alive after SIGTERM"):
        require_ended([EndedProcess(76, 9.0, "python", "SIGTERM", "ended"), record])
    require_ended([EndedProcess(76, 9.0, "python", None, "already gone")])


@pytest.mark.requirement("L1")
def test_a_reused_launcher_pid_is_not_the_launcher(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    with stage_running(target) as process:
        identity = identify(process.pid)
        assert identity is not None
        assert end_launch("no such launch", ProcessIdentity(identity.pid, identity.start - 1.0)) == []
        assert is_running(process.pid)
        assert [record.pid for record in end_launch("no such launch", identity)] == [process.pid]
