"""Which program identifies a project's training process: its executable, its module and where it runs.

test_guard.py tests the usual command lines.

pytest tests/unit/launch/processes/test_find.py
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

import psutil
import pytest

from tests.helpers.process_projects import SLEEPER, first_line, make_project, running, stage_running
from tests.unit.launch.processes.test_guard import found_pids
from tinyworlds_gate.launch.command import RUN_ROOT_VARIABLE

SHELL = "/bin/bash"
needs_bash = pytest.mark.skipif(not Path(SHELL).exists(), reason="needs bash for `exec -a`")


@needs_bash
@pytest.mark.requirement("L1", "L2")
def test_a_stage_process_is_found_by_its_executable_whatever_it_calls_itself(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    command = [SHELL, "-c", f"exec -a trainer '{sys.executable}' scripts/train_dynamics.py"]
    with running(command, cwd=tmp_path) as process:
        first_line(process)
        assert psutil.Process(process.pid).cmdline()[0] == "trainer"
        assert found_pids(target) == {process.pid}


@needs_bash
@pytest.mark.requirement("L1", "L2")
def test_another_program_that_calls_itself_python_is_not_found(tmp_path: Path) -> None:
    target = make_project(tmp_path)
    (tmp_path / "scripts" / "train_dynamics.py").write_text("echo ready; sleep 60 & wait\n")
    command = [SHELL, "-c", f"exec -a python {SHELL} scripts/train_dynamics.py"]
    with running(command, cwd=tmp_path) as process:
        first_line(process)
        assert psutil.Process(process.pid).cmdline()[0] == "python"
        assert found_pids(target) == set()
        for child in psutil.Process(process.pid).children():
            child.kill()


@pytest.mark.requirement("L1")
@pytest.mark.parametrize("inside", [True, False], ids=["run root of this project", "no run root"])
def test_a_module_without_a_file_belongs_to_the_project_of_its_run_root(tmp_path: Path, inside: bool) -> None:
    """A module in an archive, as in one of an installed package, shows no path."""
    target = make_project(tmp_path / "ours")
    archive = tmp_path / "site.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("scripts/__init__.py", "")
        file.writestr("scripts/train_dynamics.py", SLEEPER)
    env = {**os.environ, "PYTHONPATH": str(archive)}
    if inside:
        env[RUN_ROOT_VARIABLE] = str(target.root / "results" / "a")
    with running([sys.executable, "-m", "scripts.train_dynamics"], cwd=tmp_path, env=env) as process:
        assert first_line(process) == "ready\n"
        assert found_pids(target) == ({process.pid} if inside else set())


@pytest.mark.requirement("L1")
def test_a_shared_script_identifies_no_project_not_even_from_inside_one(tmp_path: Path) -> None:
    root = tmp_path / "ours"
    shared, own = make_project(root, shared_scripts=root / "scripts"), make_project(root)
    with stage_running(own, cwd=tmp_path) as process:
        assert found_pids(own) == {process.pid}
        assert found_pids(shared) == set()
    with stage_running(own) as process:
        assert found_pids(shared) == {process.pid}, "it runs in the project's folder"
