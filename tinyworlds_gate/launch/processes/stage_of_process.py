"""Which stage of a project a process runs: by its program, by the code of its command line, by its Python stack.

The program is resolved from the process's own working directory and PYTHONPATH. The stack (``python_stack.py``) finds
what no command line shows: notebooks, launchers that call a stage's function, programs in an archive. The code of
``python -c`` counts only where the stack cannot be read.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from tinyworlds_gate.launch.command import RUN_ROOT_VARIABLE
from tinyworlds_gate.launch.processes.command_lines import Program, code_of, program_of, reads_stdin
from tinyworlds_gate.launch.processes.interpreters import has_python_name, is_interpreter, is_own_interpreter
from tinyworlds_gate.launch.processes.python_code import programs_in
from tinyworlds_gate.launch.processes.python_stack import Stack, python_stacks
from tinyworlds_gate.targets.base import Target

_PYTHON = "python"
_GUARD = b"__main__"
_IMPORTS = "<frozen importlib"
_HELPER = re.compile(r"eval|valid|infer|load|build|make|create|plot|parse|sampl|config|size|data|get|test|setup|help")
"""Names of functions that a stage script shares with programs that do not train."""
_EXEC_S = 0.005
_KERNEL_THREADS = 2  # the parent of kernel threads, which have no environment


def may_run_python(pid: int, target: Target) -> bool:
    """Cheap check whether `stage_of` could find a stage in a process; unknown counts as yes."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb", buffering=0) as file:
            cmdline = file.read()
    except OSError:
        return not os.path.exists("/proc/self/cmdline") or os.path.exists(f"/proc/{pid}")
    if not cmdline:  # kernel threads and zombies
        return False
    if b"torchrun" in cmdline:
        return True
    try:
        executable = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return b"py" in cmdline
    if has_python_name(executable) or is_own_interpreter(f"/proc/{pid}/exe"):
        return True
    return any(name in cmdline for name in _names(target)) and is_interpreter(executable, f"/proc/{pid}/exe")


def stage_of(process: psutil.Process, files: StageFiles) -> tuple[str, bool] | None:
    """Return the stage that a process runs and whether it is a launcher; None for other processes."""
    argv = process.cmdline()
    interpreter = _interpreter_of(process)
    program = program_of(argv, interpreter)
    cwd = Path(process.cwd())
    if program is None and interpreter in (None, _PYTHON) and reads_stdin(argv):
        program = _standard_input(process.pid)
    if program is not None and (stage := _stage_of_program(program, process, cwd, files)) is not None:
        return stage, program.launcher
    if program is not None and program.launcher:
        return None
    stacks = python_stacks(process.pid)
    code = _programs_of_code(argv, process, cwd, files, stack_known=stacks is not None)
    stages = (_stage_of_program(one, process, cwd, files) for one in code)
    on_stack = (_stage_on_stack(stack, process, cwd, files) for stack in stacks or ())
    stage = next(filter(None, (*on_stack, *stages)), None)
    return None if stage is None else (stage, False)


def _stage_of_program(program: Program, process: psutil.Process, cwd: Path, files: StageFiles) -> str | None:
    file = _file_of(program, cwd, process)
    stage = _stage_of_module(program, files.target) if file is None else files.stage_of(str(file))
    return stage if stage is not None and _is_of_project(file, process, cwd, files.target) else None


class StageFiles:
    """Finds the stage of a file; each file is looked at once."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._scripts = {os.path.realpath(script): stage for stage, script in target.stage_scripts.items()}
        self._stats: dict[str, os.stat_result] = {}
        for script, stage in self._scripts.items():
            with suppress(OSError):
                self._stats[stage] = os.stat(script)
        self._known: dict[str, str | None] = {}

    def stage_of(self, path: str) -> str | None:
        """Return the stage whose script this file is, also by a link."""
        if path not in self._known:
            self._known[path] = self._scripts.get(path) or self._find(path)
        return self._known[path]

    def _find(self, path: str) -> str | None:
        try:
            found = os.stat(path)
        except OSError:
            return None
        return next((stage for stage, stat in self._stats.items() if os.path.samestat(found, stat)), None)


def _names(target: Target) -> tuple[bytes, ...]:
    return tuple(os.fsencode(Path(script).stem) for script in target.stage_scripts.values())


def _interpreter_of(process: psutil.Process) -> str | None:
    """The path of the executable, by a name that says so if it is an interpreter; None if it cannot be read."""
    try:
        executable = process.exe() or None
    except psutil.Error:
        return None
    link = f"/proc/{process.pid}/exe"
    if executable is not None and is_interpreter(executable, link if os.path.exists(link) else None):
        return _PYTHON
    return executable


def _standard_input(pid: int) -> Program | None:
    with suppress(OSError):
        return Program(script=os.readlink(f"/proc/{pid}/fd/0"), module=None)
    return None


def _programs_of_code(
    argv: list[str], process: psutil.Process, cwd: Path, files: StageFiles, *, stack_known: bool
) -> Iterator[Program]:
    """The scripts and modules that the code of ``python -c`` runs; only those that a stack does not show, if known."""
    code = code_of(argv)
    if code is None:
        return
    found = programs_in(code)
    yield from (Program(script=script, module=None) for script in sorted(found.executed))
    if stack_known:
        return
    yield from (Program(script=script, module=None) for script in sorted(found.scripts))
    for name, function in sorted(found.called, key=str):
        for program in (Program(None, name), *(Program(f"{folder}/{name}.py", None) for folder in found.folders)):
            file = _file_of(program, cwd, process)
            called = function is not None and not _HELPER.search(function)
            if called or (file is not None and _runs_when_imported(file, files)):
                yield program


def _runs_when_imported(file: Path, files: StageFiles) -> bool:
    """Whether a stage script trains when it is only imported."""
    with suppress(OSError):
        return files.stage_of(str(file)) is not None and _GUARD not in file.read_bytes()
    return False


def _stage_on_stack(stack: Stack, process: psutil.Process, cwd: Path, files: StageFiles) -> str | None:
    """The stage whose script a thread runs: not one that it only imports, or from which it calls a helper."""
    for frame, caller in zip(reversed(stack), (None, *reversed(stack)), strict=False):
        if not frame.file.endswith(".py"):
            continue
        path = os.path.normpath(os.path.join(cwd, frame.file))
        stage = files.stage_of(path)
        file = None if stage is None else Path(path).resolve()
        if stage is None and not os.path.exists(path):
            stage = _stage_in_archive(Path(path), files.target)
        if stage is None or not _is_of_project(file, process, cwd, files.target):
            continue
        imported = frame.name == "<module>" and caller is not None and caller.file.startswith(_IMPORTS)
        if not imported and not _HELPER.search(frame.name):
            return stage
        if imported and file is not None and _runs_when_imported(file, files):
            return stage
    return None


def _stage_in_archive(path: Path, target: Target) -> str | None:
    """The stage whose module a file inside an archive holds, as ``app.pyz/scripts/train_dynamics.py``."""
    archive = next((parent for parent in path.parents if parent.is_file()), None)
    if archive is None:
        return None
    inside = path.relative_to(archive)
    modules = {name: stage for stage, name in target.stage_modules.items()}
    scripts = {Path(script).name: stage for stage, script in target.stage_scripts.items()}
    return modules.get(".".join(inside.with_suffix("").parts)) or scripts.get(inside.name)


def _is_of_project(file: Path | None, process: psutil.Process, cwd: Path, target: Target) -> bool:
    """A file inside the project identifies it; a script shared by projects, or one outside, does not."""
    inside = file is not None and not target.shared_scripts and file.is_relative_to(target.root)
    return inside or _runs_in_project(process, cwd, target)


def _file_of(program: Program, cwd: Path, process: psutil.Process) -> Path | None:
    """Resolve a program to a file: a script from the working directory, a module from there or PYTHONPATH.

    Returns None for a module that is installed elsewhere.
    """
    if program.script is not None:
        return (cwd / program.script).resolve()
    if program.module is None:
        return None
    entries = process.environ().get("PYTHONPATH", "").split(os.pathsep)
    for folder in [cwd, *(cwd / entry for entry in entries if entry)]:
        base = folder.joinpath(*program.module.split("."))
        for file in (base.with_name(f"{base.name}.py"), base / "__main__.py"):
            if file.is_file():
                return file.resolve()
    return None


def _stage_of_module(program: Program, target: Target) -> str | None:
    return next((stage for stage, name in target.stage_modules.items() if name == program.module), None)


def _runs_in_project(process: psutil.Process, cwd: Path, target: Target) -> bool:
    """Whether the working directory is the project's root, or the run root in the environment is inside it."""
    if cwd.resolve() == target.root:
        return True
    run_root = process.environ().get(RUN_ROOT_VARIABLE)
    return bool(run_root) and (cwd / str(run_root)).resolve().is_relative_to((target.root / "results").resolve())


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Return the environment of a process; inside execve(2) it is empty for a moment, so that is read again."""
    found = process.environ()
    if not found and process.ppid() != _KERNEL_THREADS:
        time.sleep(_EXEC_S)
        found = process.environ()
    return found
