"""Find the training processes of one project by the program they run, not by matching text (L1, L2, H5)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from tinyworlds_gate.config.rendezvous import NODE_VARIABLE
from tinyworlds_gate.launch.command import PROJECT_VARIABLE
from tinyworlds_gate.launch.processes.bystanders import Marked, belongs
from tinyworlds_gate.launch.processes.stage_of_process import StageFiles, environment_of, may_run_python, stage_of
from tinyworlds_gate.names import LAUNCH_VARIABLE
from tinyworlds_gate.run.identity import ProcessIdentity, is_zombie, process_start
from tinyworlds_gate.run.redact import redact_command
from tinyworlds_gate.targets.base import Target


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

    A process counts if it has our user and root file system and runs a stage script or stage module of ``target``, as
    `stage_of` finds. This process, its ancestors and the PIDs in ``exclude`` never count.
    """
    found, files = [], StageFiles(target)
    # Cheap filter first: the guard checks all processes every 2 s, and most are neither Python nor torchrun.
    for process in psutil.process_iter():
        if process.pid in exclude or not may_run_python(process.pid, target):
            continue
        with suppress(psutil.Error, OSError):
            if process.uids().real != os.getuid() or not _shares_our_root(process.pid):
                continue
            stage = stage_of(process, files)
            if stage is not None and (facts := facts_of(process)) is not None:
                found.append(replace(facts, stage=stage[0], launcher=stage[1]))
    never = own_ancestry() if found else set()
    return sorted((one for one in found if one.pid not in never), key=lambda one: (not one.launcher, one.pid))


def find_leftovers(target: Target, *, exclude: Collection[int] = ()) -> list[ProcessFacts]:
    """Return processes that an earlier harness run of this project started, by their inherited marker.

    They include helpers whose command line does not identify them: data-loader workers, inference. Bystanders that
    inherited the marker are left out (``bystanders.py``).
    """
    project = str(target.root)
    return _marked(exclude, lambda env: env.get(PROJECT_VARIABLE) == project)


def find_launch(token: str, *, exclude: Collection[int] = (), session: int | None = None) -> list[ProcessFacts]:
    """Return every process of this launch by its inherited marker, including orphans in other sessions.

    Args:
        session: the launch's session, if known: all that carries the marker there is part of the launch.
    """
    return _marked(exclude, lambda env: env.get(LAUNCH_VARIABLE) == token, session)


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


def _marked(exclude: Collection[int], marked: Marked, session: int | None = None) -> list[ProcessFacts]:
    found = []
    for process in _own_users_processes(exclude):
        with suppress(psutil.Error, OSError):
            if not marked(environment_of(process)) or not belongs(process, marked, session):
                continue
            if (facts := facts_of(process)) is not None:
                found.append(facts)
    return sorted(found, key=lambda one: one.pid)


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


def _shares_our_root(pid: int) -> bool:
    theirs = Path(f"/proc/{pid}/root")
    return os.path.samefile(theirs, "/") if Path("/proc/self/root").exists() else True
