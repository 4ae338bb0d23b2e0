"""Finds the training processes of one project by what they are, never by a word in a command line (L1, L2, H5)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tinyworlds_gate.launch.argv import Program, program_of
from tinyworlds_gate.launch.command import LAUNCH_VARIABLE, PROJECT_VARIABLE, RUN_ROOT_VARIABLE
from tinyworlds_gate.run.identity import ProcessIdentity, is_zombie, process_start
from tinyworlds_gate.run.redact import redact_command
from tinyworlds_gate.targets.base import Target


@dataclass(frozen=True)
class ProcessFacts:
    """What the process table says about one process at one moment; ``cmdline`` is already without secrets."""

    identity: ProcessIdentity
    parent: int
    age_s: float
    cmdline: str

    @property
    def pid(self) -> int:
        return self.identity.pid


@dataclass(frozen=True)
class StageProcess:
    """A process that runs a stage of this project; ``stage`` is None for a helper that the run's marker betrays."""

    facts: ProcessFacts
    stage: str | None
    launcher: bool

    @property
    def identity(self) -> ProcessIdentity:
        return self.facts.identity

    @property
    def pid(self) -> int:
        return self.facts.pid


def find_stage_processes(target: Target, *, exclude: Collection[int] = ()) -> list[StageProcess]:
    """All training processes of this project on this machine that belong to this user, launchers first.

    A process counts when it has our user, lives in our root file system, and runs (with Python or torchrun) a
    program that resolves, from its own working directory, to a stage script or stage module of ``target``. This
    process, its ancestors and the PIDs in ``exclude`` never count.
    """
    found = []
    for process in _own_users_processes(exclude):
        with suppress(psutil.Error, OSError):
            stage = _stage_of(process, target)
            if stage is not None and (facts := facts_of(process)) is not None:
                found.append(StageProcess(facts, stage[0], stage[1]))
    return sorted(found, key=lambda one: (not one.launcher, one.pid))


def find_left_over(target: Target, *, exclude: Collection[int] = ()) -> list[StageProcess]:
    """Processes that an earlier harness run of this project started (by the marker that children inherit).

    They may be helpers whose command line says nothing: a data loader's worker, a compiler, inference.
    """
    project = str(target.root)
    return _marked(exclude, lambda env: env.get(PROJECT_VARIABLE) == project)


def find_launch(token: str, *, exclude: Collection[int] = ()) -> list[StageProcess]:
    """Every process that inherited this launch's marker, orphans in sessions of their own included."""
    return _marked(exclude, lambda env: env.get(LAUNCH_VARIABLE) == token)


def carries_launch(pid: int, token: str) -> bool:
    """Whether the process that has this PID inherited the launch's marker."""
    with suppress(psutil.Error, OSError):
        return psutil.Process(pid).environ().get(LAUNCH_VARIABLE) == token
    return False


def tree_of(pids: Iterable[int]) -> list[ProcessFacts]:
    """The given processes and all their descendants, parents before children."""
    tree: dict[int, ProcessFacts] = {}
    for pid in pids:
        with suppress(psutil.Error):
            root = psutil.Process(pid)
            for process in [root, *root.children(recursive=True)]:
                facts = facts_of(process)
                if facts is not None:
                    tree.setdefault(facts.pid, facts)
    return list(tree.values())


def facts_of(process: psutil.Process) -> ProcessFacts | None:
    """The facts of a live process, None when it is gone or a zombie."""
    try:
        start = process_start(process.pid)
        if start is None or is_zombie(process.pid):
            return None
        with process.oneshot():
            argv = process.cmdline()
            facts = ProcessFacts(
                identity=ProcessIdentity(process.pid, start),
                parent=process.ppid(),
                age_s=round(max(0.0, time.time() - process.create_time()), 3),
                cmdline=redact_command(argv) if argv else f"[{process.name()}]",
            )
    except psutil.Error:
        return None
    return facts


def own_ancestry() -> set[int]:
    """This process and its ancestors: never to be ended."""
    pids = {os.getpid()}
    with suppress(psutil.Error):
        pids |= {parent.pid for parent in psutil.Process().parents()}
    return pids


def _marked(exclude: Collection[int], matches: Callable[[dict[str, str]], bool]) -> list[StageProcess]:
    found = []
    for process in _own_users_processes(exclude):
        with suppress(psutil.Error, OSError):
            if matches(process.environ()) and (facts := facts_of(process)) is not None:
                found.append(StageProcess(facts, None, False))
    return sorted(found, key=lambda one: one.pid)


def _own_users_processes(exclude: Collection[int]) -> Iterator[psutil.Process]:
    """Processes of our user in our root file system (a container's paths mean other files), our ancestry left out."""
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


def _shares_our_root(pid: int) -> bool:
    theirs = Path(f"/proc/{pid}/root")
    return os.path.samefile(theirs, "/") if Path("/proc/self/root").exists() else True


def _stage_of(process: psutil.Process, target: Target) -> tuple[str, bool] | None:
    """The stage that a process runs and whether it is a launcher; None for every other process."""
    argv = process.cmdline()
    try:
        executable: str | None = process.exe() or None
    except psutil.Error:
        executable = None
    program = program_of(argv, executable)
    if program is None:
        return None
    cwd = Path(process.cwd())
    stage = _stage_of_program(program, cwd, target)
    if stage is None or (target.shared_scripts and not _runs_in_project(process, cwd, target)):
        return None
    return stage, program.launcher


def _stage_of_program(program: Program, cwd: Path, target: Target) -> str | None:
    if program.module is not None and program.module in target.stage_modules.values():
        return next(stage for stage, name in target.stage_modules.items() if name == program.module)
    relative = program.script if program.module is None else program.module.replace(".", "/") + ".py"
    if relative is None:
        return None
    path = (cwd / relative).resolve()
    return next((stage for stage, script in target.stage_scripts.items() if Path(script).resolve() == path), None)


def _runs_in_project(process: psutil.Process, cwd: Path, target: Target) -> bool:
    """By its working directory (a project's stages start in its root), or by the run root in its environment."""
    if cwd.resolve() == target.root:
        return True
    run_root = process.environ().get(RUN_ROOT_VARIABLE)
    return bool(run_root) and (cwd / str(run_root)).resolve().is_relative_to((target.root / "results").resolve())
