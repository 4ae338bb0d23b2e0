"""Tell a launch's own processes from bystanders that only inherited its marker: editors, terminals, pagers, shells.

A marker is an environment variable, so whatever a person starts from within a run carries it. What a process runs, and
in whose session, decides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path, PurePath

import psutil

from tinyworlds_gate.launch.command import PROJECT_VARIABLE
from tinyworlds_gate.launch.processes.command_lines import program_of
from tinyworlds_gate.launch.processes.interpreters import is_interpreter
from tinyworlds_gate.launch.processes.stage_of_process import environment_of
from tinyworlds_gate.run.process_stat import process_stat

_TOOLS = {
    *(
        "jupyter",
        "jupyter-lab",
        "jupyter-notebook",
        "ipykernel",
        "ipykernel_launcher",
        "ipython",
        "IPython",
        "notebook",
    ),
    *("tensorboard", "mlflow", "visdom", "aim", "streamlit", "gradio", "dash", "bokeh", "wandb", "http.server"),
    *("spyder", "idlelib", "idle", "idle3", "thonny", "ranger", "xonsh", "glances", "nvitop", "gpustat", "pip", "uv"),
}
"""Python programs that people start and that train nothing: console scripts and modules."""

_PACKAGE = Path(__file__).resolve().parents[2]
_LIBRARIES = frozenset({"site-packages", "dist-packages"})

Marked = Callable[[Mapping[str, str]], bool]


def belongs(process: psutil.Process, marked: Marked, launch_session: int | None = None) -> bool:
    """Whether a process that carries a marker is part of the launch, and no bystander.

    A process on a terminal, or in a session that somebody else leads, is a bystander. Of the others, those of the
    launch's own session belong, and Python programs other than the tools that people use.

    Args:
        marked: whether an environment has the marker.
        launch_session: the session of the launch, which its launcher leads; None if it is not known.
    """
    if on_terminal(process.pid):
        return False
    session = session_of(process.pid)
    if session is not None and session == launch_session:
        return True
    return _in_own_session(process.pid, session, marked) and _runs_a_program_of_ours(process)


def bystanders_below(root: int, members: Collection[tuple[int, int]]) -> set[int]:
    """Return the PIDs below ``root`` that are no part of it; ``members``: (PID, parent) of it and its descendants.

    They have a session of their own, and a terminal or no Python in them: a terminal multiplexer, an editor.
    """
    own = session_of(root)
    children: dict[int, list[int]] = {}
    for pid, parent in members:
        children.setdefault(parent, []).append(pid)

    def tree(pid: int) -> set[int]:
        found = {pid}
        pending = [pid]
        while pending:
            for child in children.get(pending.pop(), ()):
                if child not in found:
                    found.add(child)
                    pending.append(child)
        return found

    spared: set[int] = set()
    for pid, _ in members:
        if pid == root or pid in spared or session_of(pid) == own:
            continue
        below = tree(pid)
        if on_terminal(pid) or not any(_is_python(one) for one in below):
            spared |= below
    return spared


def on_terminal(pid: int) -> bool:
    """Whether a process has a controlling terminal; a launch and what it starts has none."""
    stat = process_stat(pid)
    if stat is not None:
        return stat.terminal != 0
    with suppress(psutil.Error, AttributeError):
        return psutil.Process(pid).terminal() is not None
    return False


def session_of(pid: int) -> int | None:
    """Return the session of a process: the PID of the process that leads it or led it; None if unknown."""
    try:
        return os.getsid(pid) or None
    except OSError:
        return None


def _in_own_session(pid: int, session: int | None, marked: Marked) -> bool:
    """Whether no process outside of the launch leads the session."""
    if session is None:
        return False
    if session == pid:
        return True
    try:
        leader = psutil.Process(session)
        return leader.status() == psutil.STATUS_ZOMBIE or marked(environment_of(leader))
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, OSError):
        return False


def _runs_a_program_of_ours(process: psutil.Process) -> bool:
    try:
        if not _is_python(process.pid):
            return False
        program = program_of(process.cmdline(), "python")
    except psutil.Error:
        return False
    if program is None:
        return True
    name = program.module or PurePath(str(program.script)).name
    if name in _TOOLS or name.partition(".")[0] in _TOOLS:
        return False
    return program.script is None or _is_near(process, program.script)


def _is_near(process: psutil.Process, script: str) -> bool:
    """Whether a script belongs to the process's project, to this package or to an installed library."""
    with suppress(psutil.Error, OSError):
        file = (Path(process.cwd()) / script).resolve()
        project = environment_of(process).get(PROJECT_VARIABLE)
        folders = [_PACKAGE, *([Path(project).resolve()] if project else [])]
        inside = any(file.is_relative_to(folder) for folder in folders)
        return project is None or inside or not _LIBRARIES.isdisjoint(file.parts)
    return True


def _is_python(pid: int) -> bool:
    try:
        return is_interpreter(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)"), f"/proc/{pid}/exe")
    except FileNotFoundError:
        pass
    except OSError:
        return False
    with suppress(psutil.Error):
        return is_interpreter(psutil.Process(pid).exe())
    return False
