"""The matrix of processes: all that train a project are found, and no bystander with a run's marker is ended.

pytest tests/faults/test_process_matrix.py       # prints the figures
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.helpers.process_cases import bystanders, project_with_launchers, started, training
from tests.helpers.process_projects import is_running
from tinyworlds_gate.launch.child import run_child
from tinyworlds_gate.launch.command import PROJECT_VARIABLE
from tinyworlds_gate.launch.processes import stage_of_process
from tinyworlds_gate.launch.processes.end import end_launch, end_stale
from tinyworlds_gate.launch.processes.find import find_launch, find_leftovers, find_stage_processes
from tinyworlds_gate.names import LAUNCH_VARIABLE

NO_SCENE = "many processes at once, and bystanders of its own; no run"
ONLY_BY_THE_STACK = {
    *("python -c with a variable", "a notebook that calls it", "a notebook that runs it"),
    *("a launcher that reads the name", "a thread", "a pool of processes", "a launcher that spawns"),
    *("a launcher that forks", "a launcher with a forkserver"),
    *("a folder with __main__", "an archive that calls it", "an archive that holds it"),
}
"""Where another process's memory may not be read (Yama, another interpreter), these are not found."""


def tree(pid: int) -> set[int]:
    return {pid, *(one.pid for one in psutil.Process(pid).children(recursive=True))}


@pytest.mark.fault("disguised-training", no_scene=NO_SCENE)
@pytest.mark.requirement("L1", "L2")
def test_whatever_trains_the_project_is_found_and_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = project_with_launchers(tmp_path / "project")
    cases = training(target.root)
    assert len(cases) >= 32
    with started(cases, target.root) as running:
        trees = {name: tree(process.pid) for name, process in running.items()}
        found = {one.pid: one for one in find_stage_processes(target)}
        missed = {name for name, pids in trees.items() if not pids & found.keys()}
        with monkeypatch.context() as patch:
            patch.setattr(stage_of_process, "python_stacks", lambda pid: None)
            by_command = {one.pid for one in find_stage_processes(target)}
        unseen = {name for name, pids in trees.items() if not pids & by_command}
        end_stale(target)
        alive = {name for name, pids in trees.items() if any(psutil.pid_exists(pid) for pid in pids & found.keys())}
        alive = {name for name in alive if running[name].poll() is None}
    with capsys.disabled():
        print(
            f"\nprocesses that train: {len(cases)}, found {len(cases) - len(missed)}, missed {len(missed)}; "
            f"without reading memory, missed {len(unseen)}"
        )
    assert missed == set()
    assert unseen <= ONLY_BY_THE_STACK
    assert {one.stage for one in found.values()} == {"dynamics"}
    assert alive == set()


@pytest.mark.fault("marked-bystanders", no_scene=NO_SCENE)
@pytest.mark.requirement("L1", "L2", "H5")
def test_no_bystander_that_inherited_the_marker_is_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = project_with_launchers(tmp_path / "project")
    marker = {PROJECT_VARIABLE: str(target.root), LAUNCH_VARIABLE: "launch-7"}
    cases = bystanders(target.root, marker)
    with started(cases, target.root) as running:
        records = [*end_stale(target, grace_s=1.0), *end_launch("launch-7", grace_s=1.0)]
        assert find_leftovers(target) == find_launch("launch-7") == []
        ended = {name for name, process in running.items() if process.poll() is not None}
    with capsys.disabled():
        print(f"\nbystanders: {len(cases)}, spared {len(cases) - len(ended)}, ended {len(ended)}")
    assert ended == set()
    assert records == []


STARTS_OTHERS = """
import os, subprocess, sys, time
def start(*command, **options):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **options).pid
waits = "import time; time.sleep(60)"
pids = [
    start("tail", "-f", __file__, start_new_session=True),
    start("sh", "-c", "sleep 61; true", start_new_session=True),
    start("sleep", "62"),
    start(sys.executable, "-c", waits),
    start(sys.executable, "-c", waits, start_new_session=True),
]
print(*pids, flush=True)
time.sleep({seconds})
"""
"""A stage that starts an editor's pager and a shell in sessions of their own, and helpers of its own."""


@pytest.mark.fault("marked-bystanders", no_scene=NO_SCENE)
@pytest.mark.requirement("L1", "H5")
@pytest.mark.parametrize("seconds", [0, 60], ids=["after the launch has ended", "while the launch is ended"])
def test_what_a_person_starts_from_within_a_launch_is_spared_and_its_helpers_are_ended(
    tmp_path: Path, seconds: int
) -> None:
    result = run_child(
        [sys.executable, "-c", STARTS_OTHERS.replace("{seconds}", str(seconds)).replace("__file__", repr(__file__))],
        cwd=tmp_path,
        env=os.environ,
        log_path=tmp_path / "x.log",
        deadline_s=2.0 if seconds else 60.0,
    )
    pids = [int(word) for word in (tmp_path / "x.log").read_text().split()]
    bystanders_of_it, helpers = pids[:2], pids[2:]
    try:
        assert {pid for pid in pids if is_running(pid)} == set(bystanders_of_it)
        assert set(helpers) <= {one.pid for one in result.ended}
        assert not {one.pid for one in result.ended} & set(bystanders_of_it)
    finally:
        for pid in bystanders_of_it:
            os.killpg(pid, signal.SIGKILL)
