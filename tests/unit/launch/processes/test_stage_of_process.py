"""The stage that a process runs by the functions on its stack and by the names in its command line, without a child.

pytest tests/unit/launch/processes/test_stage_of_process.py
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.helpers.process_projects import make_project
from tinyworlds_gate.launch.command import RUN_ROOT_VARIABLE
from tinyworlds_gate.launch.processes.command_lines import Program
from tinyworlds_gate.launch.processes.python_stack import Frame
from tinyworlds_gate.launch.processes.stage_of_process import (
    StageFiles,
    _file_of,
    _interpreter_of,
    _is_of_project,
    _programs_of_code,
    _runs_when_imported,
    _stage_on_stack,
    environment_of,
)
from tinyworlds_gate.targets.base import Target

GUARDED = "def main(): ...\nif __name__ == '__main__':\n    main()\n"
IMPORT = Frame("<frozen importlib._bootstrap>", "_find_and_load")


def process(environment: Mapping[str, str] | None = None) -> Any:
    return SimpleNamespace(environ=lambda: dict(environment or {}), pid=os.getpid(), ppid=lambda: 1)


def stage_of_stack(target: Target, *frames: Frame, cwd: Path | None = None, **variables: str) -> str | None:
    return _stage_on_stack(frames, process(variables), cwd or target.root, StageFiles(target))


def script(target: Target, stage: str = "dynamics") -> str:
    return str(target.stage_scripts[stage])


def test_the_script_that_a_thread_runs_is_its_stage(tmp_path: Path) -> None:
    target = make_project(tmp_path, GUARDED)
    main, module = Frame(script(target), "main"), Frame(script(target), "<module>")
    assert stage_of_stack(target, main, module) == "dynamics"
    assert stage_of_stack(target, module) == "dynamics"
    assert stage_of_stack(target, Frame("/usr/lib/loop.py", "step"), main) == "dynamics"
    assert stage_of_stack(target, Frame("scripts/train_latent_actions.py", "main")) == "latent_actions"
    assert stage_of_stack(target, Frame("scripts/../scripts/train_dynamics.py", "main")) == "dynamics"
    assert stage_of_stack(target, Frame("/usr/lib/loop.py", "main")) is None
    assert stage_of_stack(target) is None


def test_a_file_that_is_no_python_file_is_passed_over(tmp_path: Path) -> None:
    target = make_project(tmp_path, GUARDED)
    without_ending = Path(script(target)).with_suffix("")
    without_ending.hardlink_to(script(target))
    assert stage_of_stack(target, Frame(str(without_ending), "main")) is None
    assert stage_of_stack(target, Frame("<train_dynamics.py", "main"), cwd=tmp_path / "scripts") is None


def test_a_script_that_was_removed_while_it_runs_is_still_its_stage(tmp_path: Path) -> None:
    target = make_project(tmp_path, GUARDED)
    Path(script(target)).unlink()
    assert stage_of_stack(target, Frame(script(target), "main")) == "dynamics"


@pytest.mark.parametrize("guard", [GUARDED, "main()\n"], ids=["a guard", "no guard"])
def test_an_import_of_a_script_trains_only_without_a_guard(guard: str, tmp_path: Path) -> None:
    target = make_project(tmp_path, guard)
    imported = (Frame(script(target), "<module>"), IMPORT, Frame("/usr/lib/notebook.py", "run"))
    assert stage_of_stack(target, *imported) == (None if guard == GUARDED else "dynamics")
    assert stage_of_stack(target, Frame(script(target), "<module>"), Frame("/usr/lib/runpy.py", "run")) == "dynamics"
    assert stage_of_stack(target, Frame(script(target), "main"), IMPORT) == "dynamics"


@pytest.mark.parametrize("helper", ["evaluate", "load_model", "build", "test_something", "get_config"])
def test_a_helper_of_a_script_does_not_train(helper: str, tmp_path: Path) -> None:
    target = make_project(tmp_path, GUARDED)
    assert stage_of_stack(target, Frame(script(target), helper), Frame("/usr/lib/notebook.py", "run")) is None
    assert stage_of_stack(target, Frame(script(target), helper), Frame(script(target), "main")) == "dynamics"
    bare = make_project(tmp_path / "bare", "main()\n")
    assert stage_of_stack(bare, Frame(script(bare), helper), Frame("/usr/lib/notebook.py", "run")) is None


@pytest.mark.parametrize("inside", ["scripts/train_dynamics.py", "train_dynamics.py"])
def test_a_script_inside_an_archive_is_its_stage_where_the_project_is_known(inside: str, tmp_path: Path) -> None:
    target = make_project(tmp_path / "project", GUARDED)
    archive = tmp_path / "app.pyz"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(inside, GUARDED)
    assert stage_of_stack(target, Frame(f"{archive}/{inside}", "main")) == "dynamics"
    assert stage_of_stack(target, Frame(f"{archive}/{inside}", "<module>"), IMPORT) is None
    assert stage_of_stack(target, Frame(f"{archive}/{inside}", "main"), cwd=tmp_path) is None
    assert stage_of_stack(target, Frame(f"{archive}/other.py", "main")) is None
    assert stage_of_stack(target, Frame(f"{tmp_path}/gone/{inside}", "main")) is None
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "train_dynamics.py").write_text(GUARDED)
    assert stage_of_stack(target, Frame(f"{tmp_path}/copy/train_dynamics.py", "main")) is None, "another file"


def test_scripts_that_projects_share_belong_to_the_project_in_which_the_process_runs(tmp_path: Path) -> None:
    shared = make_project(tmp_path / "project", GUARDED, shared_scripts=tmp_path / "installed")
    frame = Frame(script(shared), "main")
    assert stage_of_stack(shared, frame) == "dynamics"
    assert stage_of_stack(shared, frame, cwd=tmp_path) is None
    inside, outside = shared.root / "results" / "run", tmp_path / "results"
    assert stage_of_stack(shared, frame, cwd=tmp_path, **{RUN_ROOT_VARIABLE: str(inside)}) == "dynamics"
    assert stage_of_stack(shared, frame, cwd=tmp_path, **{RUN_ROOT_VARIABLE: "project/results/run"}) == "dynamics"
    assert stage_of_stack(shared, frame, cwd=tmp_path, **{RUN_ROOT_VARIABLE: str(outside)}) is None
    assert stage_of_stack(shared, frame, cwd=tmp_path, **{RUN_ROOT_VARIABLE: ""}) is None


def test_a_file_inside_a_project_identifies_it_from_anywhere(tmp_path: Path) -> None:
    own = make_project(tmp_path / "own", GUARDED)
    shared = make_project(tmp_path / "shared", GUARDED, shared_scripts=tmp_path / "shared" / "scripts")
    for target, expected in ((own, True), (shared, False)):
        file = Path(script(target))
        assert _is_of_project(file, process(), tmp_path, target) is expected
        assert not _is_of_project(tmp_path / "x.py", process(), tmp_path, target)
        assert not _is_of_project(None, process(), tmp_path, target)
        assert _is_of_project(None, process(), target.root, target)


def test_a_stage_file_is_found_by_every_name_of_it(tmp_path: Path) -> None:
    target = make_project(tmp_path, GUARDED)
    hard, soft = tmp_path / "hard.py", tmp_path / "soft.py"
    hard.hardlink_to(script(target))
    soft.symlink_to(script(target, "video_tokenizer"))
    files = StageFiles(target)
    for path, stage in ((hard, "dynamics"), (soft, "video_tokenizer"), (tmp_path / "gone.py", None)):
        assert files.stage_of(str(path)) == stage
        assert files.stage_of(str(path)) == stage, "asked again"
    (tmp_path / "other.py").write_text(GUARDED)
    assert files.stage_of(str(tmp_path / "other.py")) is None


def test_only_a_stage_script_without_a_guard_trains_when_it_is_imported(tmp_path: Path) -> None:
    guarded = make_project(tmp_path / "a", GUARDED)
    bare = make_project(tmp_path / "b", "train()\n")
    (tmp_path / "other.py").write_text("train()\n")
    assert not _runs_when_imported(Path(script(guarded)), StageFiles(guarded))
    assert _runs_when_imported(Path(script(bare)), StageFiles(bare))
    assert not _runs_when_imported(tmp_path / "other.py", StageFiles(bare))
    files = StageFiles(bare)
    assert files.stage_of(script(bare)) == "dynamics"
    Path(script(bare)).unlink()
    assert not _runs_when_imported(Path(script(bare)), files)


def test_a_program_is_a_script_or_a_module_of_the_folder_or_of_the_path(tmp_path: Path) -> None:
    target, elsewhere = make_project(tmp_path / "project", GUARDED), tmp_path / "elsewhere"
    (elsewhere / "package").mkdir(parents=True)
    (elsewhere / "package" / "__main__.py").touch()
    path = {"PYTHONPATH": os.pathsep.join(["", "../nowhere", "../elsewhere"])}
    cwd = target.root
    assert _file_of(Program("scripts/train_dynamics.py", None), cwd, process()) == Path(script(target))
    assert _file_of(Program(None, "scripts.train_dynamics"), cwd, process()) == Path(script(target))
    assert _file_of(Program(None, "package"), cwd, process(path)) == (elsewhere / "package" / "__main__.py").resolve()
    assert _file_of(Program(None, "package"), cwd, process()) is None
    assert _file_of(Program(None, None), cwd, process()) is None
    (cwd / "package.py").touch()
    assert _file_of(Program(None, "package"), cwd, process(path)) == cwd / "package.py"


@pytest.mark.parametrize(("parent", "found"), [(1, {"A": "1"}), (2, {})], ids=["a process", "a kernel thread"])
def test_an_environment_that_is_empty_for_a_moment_is_read_again(parent: int, found: dict[str, str]) -> None:
    answers = iter([{}, {"A": "1"}])
    asked = SimpleNamespace(environ=lambda: next(answers), ppid=lambda: parent)
    assert environment_of(asked) == found  # type: ignore[arg-type]


def programs(code: str, target: Target, *, stack_known: bool) -> set[str]:
    """Return the scripts and modules that `python -c` with this code runs."""
    found = _programs_of_code(
        ["python", "-c", code], process(), target.root, StageFiles(target), stack_known=stack_known
    )
    return {str(one.script or one.module) for one in found}


@pytest.mark.requirement("L1")
def test_the_code_of_a_command_line_names_what_it_runs_where_no_stack_does(tmp_path: Path) -> None:
    target = make_project(tmp_path / "guarded", GUARDED)
    bare = make_project(tmp_path / "bare", "main()\n")
    executes = "exec(open('scripts/train_dynamics.py').read())"
    assert programs(executes, target, stack_known=True) == {"scripts/train_dynamics.py"}
    runs = "import runpy; runpy.run_path('scripts/train_dynamics.py')"
    assert programs(runs, target, stack_known=False) >= {"scripts/train_dynamics.py"}
    assert programs(runs, target, stack_known=True) == set(), "the stack shows it"
    calls = "import scripts.train_dynamics as t; t.{}()"
    assert "scripts.train_dynamics" in programs(calls.format("main"), target, stack_known=False)
    assert "scripts.train_dynamics" not in programs(calls.format("evaluate"), target, stack_known=False)
    assert "scripts.train_dynamics" in programs(calls.format("evaluate"), bare, stack_known=False), "it has no guard"
    no_code = _programs_of_code(["python", "x.py"], process(), target.root, StageFiles(target), stack_known=False)
    assert list(no_code) == []


@pytest.mark.requirement("L1")
def test_an_interpreter_is_named_so_and_a_hidden_one_is_unknown(tmp_path: Path) -> None:
    def refused() -> str:
        raise psutil.AccessDenied(1)

    def of(exe: Any, pid: int = 2**22 + 1) -> str | None:
        return _interpreter_of(SimpleNamespace(exe=exe, pid=pid))  # type: ignore[arg-type]

    assert of(lambda: sys.executable) == "python"
    assert of(lambda: "/bin/sh") == "/bin/sh"
    assert of(lambda: "") is None
    assert of(refused) is None
    (tmp_path / "trainer").symlink_to("/gone")
    assert of(lambda: str(tmp_path / "trainer"), os.getpid()) == "python", "by the file that the kernel has open"
    assert of(lambda: str(tmp_path / "trainer")) == str(tmp_path / "trainer")
