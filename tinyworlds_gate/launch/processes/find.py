"""Find the training processes of one project by the program they run, not by matching text (L1, L2, H5)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import psutil

from tinyworlds_gate.config.rendezvous import NODE_VARIABLE
from tinyworlds_gate.launch.command import PROJECT_VARIABLE, RUN_ROOT_VARIABLE
from tinyworlds_gate.launch.processes.command_lines import Program, is_python, program_of
from tinyworlds_gate.names import LAUNCH_VARIABLE
from tinyworlds_gate.run.identity import ProcessIdentity, is_zombie, process_start
from tinyworlds_gate.run.redact import redact_command
from tinyworlds_gate.targets.base import Target

_KERNEL_THREADS = 2  # the parent of kernel threads, which have no environment
_EXEC_S = 0.005


@dataclass(frozen=True)
class ProcessFacts:
    """One process at one moment; secrets in ``cmdline`` are already redacted.

    ``stage``: the stage of this project that it runs, as a ``launcher`` or as a worker; None for any other process.
    """

    identity: ProcessIdentity
    parent: int
    age_s: float
    cmdline: str
    stage: str | None = None
    launcher: bool = False

    @property
    def pid(self) -> int:
        return self.identity.pid


def find_stage_processes(target: Target, *, exclude: Collection[int] = ()) -> list[ProcessFacts]:
    """Return all training processes of this project on this machine that belong to this user, launchers first.

    A process counts if it has our user and root file system and runs (with Python or torchrun) a program that
    resolves, from its own working directory, to a stage script or stage module of ``target``. This process, its
    ancestors and the PIDs in ``exclude`` never count.
    """
    found = []
    # Cheap filter first: the guard checks all processes every 2 s, and most are neither Python nor torchrun.
    for process in psutil.process_iter():
        if process.pid in exclude or not _may_run_a_program(process.pid):
            continue
        with suppress(psutil.Error, OSError):
            if process.uids().real != os.getuid() or not _shares_our_root(process.pid):
                continue
            stage = _stage_of(process, target)
            if stage is not None and (facts := facts_of(process)) is not None:
                found.append(replace(facts, stage=stage[0], launcher=stage[1]))
    never = own_ancestry() if found else set()
    return sorted((one for one in found if one.pid not in never), key=lambda one: (not one.launcher, one.pid))


def find_leftovers(target: Target, *, exclude: Collection[int] = ()) -> list[ProcessFacts]:
    """Return processes that an earlier harness run of this project started, by their inherited marker.

    They include helpers whose command line does not identify them: data-loader workers, compilers, inference.
    """
    project = str(target.root)
    return _marked(exclude, lambda env: env.get(PROJECT_VARIABLE) == project)


def find_launch(token: str, *, exclude: Collection[int] = ()) -> list[ProcessFacts]:
    """Return every process that inherited this launch's marker, including orphans in other sessions."""
    return _marked(exclude, lambda env: env.get(LAUNCH_VARIABLE) == token)


def belongs_to_launch(pid: int, token: str) -> bool:
    """Whether the process with this PID inherited the launch's marker."""
    with suppress(psutil.Error, OSError):
        return psutil.Process(pid).environ().get(LAUNCH_VARIABLE) == token
    return False


def node_marker(pid: int) -> str | None:
    """Return the node and run that a process trains for (``NODE_VARIABLE``); None if it is not set."""
    with suppress(psutil.Error, OSError):
        return psutil.Process(pid).environ().get(NODE_VARIABLE)
    return None


def tree_of(pids: Iterable[int]) -> list[ProcessFacts]:
    """Return the given processes and all their descendants, parents before children."""
    tree: dict[int, ProcessFacts] = {}
    for pid in pids:
        with suppress(psutil.Error):
            root = psutil.Process(pid)
            for process in [root, *root.children(recursive=True)]:
                facts = facts_of(process)
                if facts is not None:
                    tree.setdefault(facts.pid, facts)
    return parents_first(tree.values())


def parents_first(members: Iterable[ProcessFacts]) -> list[ProcessFacts]:
    """Sort processes so that parents come before children, whatever their PIDs; otherwise keep the order."""
    members = list(members)
    by_pid = {facts.pid: facts for facts in members}

    def depth(facts: ProcessFacts) -> int:
        seen = {facts.pid}
        while (parent := by_pid.get(facts.parent)) is not None and parent.pid not in seen:
            seen.add(parent.pid)
            facts = parent
        return len(seen)

    return sorted(members, key=depth)


def facts_of(process: psutil.Process) -> ProcessFacts | None:
    """Return the facts of a live process; None if it is gone or a zombie."""
    try:
        start = process_start(process.pid)
        if start is None or is_zombie(process.pid):
            return None
        with process.oneshot():
            argv = process.cmdline()
            facts = ProcessFacts(
                identity=ProcessIdentity(process.pid, start),
                parent=process.ppid(),
                age_s=round(ProcessIdentity(process.pid, start).age_s, 3),
                cmdline=redact_command(argv) if argv else f"[{process.name()}]",
            )
    except psutil.Error:
        return None
    return facts


def own_ancestry() -> set[int]:
    """Return the PIDs of this process and its ancestors, which are never ended."""
    pids, pid = {os.getpid()}, os.getppid()
    while pid > 0 and pid not in pids:
        pids.add(pid)
        try:
            pid = psutil.Process(pid).ppid()
        except psutil.Error:
            break
    return pids


def _marked(exclude: Collection[int], matches: Callable[[dict[str, str]], bool]) -> list[ProcessFacts]:
    found = []
    for process in _own_users_processes(exclude):
        with suppress(psutil.Error, OSError):
            if matches(_environment(process)) and (facts := facts_of(process)) is not None:
                found.append(facts)
    return sorted(found, key=lambda one: one.pid)


def _environment(process: psutil.Process) -> dict[str, str]:
    """Return the environment of a process; inside execve(2) it is empty for a moment, so that is read again."""
    found = process.environ()
    if not found and process.ppid() != _KERNEL_THREADS:
        time.sleep(_EXEC_S)
        found = process.environ()
    return found


def _own_users_processes(exclude: Collection[int]) -> Iterator[psutil.Process]:
    """Yield processes of our user in our root file system (paths in a container mean other files), except ancestors."""
    never = own_ancestry() | set(exclude)
    user = os.getuid()
    for process in psutil.process_iter():
        if process.pid in never:
            continue
        try:
            if process.uids().real == user and _shares_our_root(process.pid):
                yield process
        except (psutil.Error, OSError):
            continue


def _may_run_a_program(pid: int) -> bool:
    """Cheap check whether `program_of` could find a program in a process; unknown counts as yes."""
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
    return _is_interpreter(executable)


_is_interpreter = cache(is_python)


def _shares_our_root(pid: int) -> bool:
    theirs = Path(f"/proc/{pid}/root")
    return os.path.samefile(theirs, "/") if Path("/proc/self/root").exists() else True


def _stage_of(process: psutil.Process, target: Target) -> tuple[str, bool] | None:
    """Return the stage that a process runs and whether it is a launcher; None for other processes."""
    argv = process.cmdline()
    try:
        executable: str | None = process.exe() or None
    except psutil.Error:
        executable = None
    program = program_of(argv, executable)
    if program is None:
        return None
    cwd = Path(process.cwd())
    file = _file_of(program, cwd, process)
    stage = _stage_of_module(program, target) if file is None else _stage_of_file(file, target)
    if stage is None:
        return None
    # A file inside the project identifies it; a script shared by projects, or one outside, does not.
    shared = target.shared_scripts or file is None or not file.is_relative_to(target.root)
    return None if shared and not _runs_in_project(process, cwd, target) else (stage, program.launcher)


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


def _stage_of_file(file: Path, target: Target) -> str | None:
    return next((stage for stage, script in target.stage_scripts.items() if Path(script).resolve() == file), None)


def _stage_of_module(program: Program, target: Target) -> str | None:
    return next((stage for stage, name in target.stage_modules.items() if name == program.module), None)


def _runs_in_project(process: psutil.Process, cwd: Path, target: Target) -> bool:
    """Whether the working directory is the project's root, or the run root in the environment is inside it."""
    if cwd.resolve() == target.root:
        return True
    run_root = process.environ().get(RUN_ROOT_VARIABLE)
    return bool(run_root) and (cwd / str(run_root)).resolve().is_relative_to((target.root / "results").resolve())
