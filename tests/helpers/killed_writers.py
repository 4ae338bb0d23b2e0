"""Real processes that write a checkpoint and prune, and are killed at a chosen boundary, with or without strace.

A boundary is a system call that changes the disk: a write, an fsync, a rename, the creation or removal of a file or
folder. The writer is killed before the call; with the Python wrappers also in the middle of a write. Together these
are all states in which a kill can leave the disk.
"""

from __future__ import annotations

import ctypes
import io
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.helpers.checkpoint_files import foreign_folder
from tests.helpers.warm_python import PRELOADED
from tinyworlds_gate.checkpoints.read import read_model_state, read_state
from tinyworlds_gate.checkpoints.retention import Retention, mark_gated
from tinyworlds_gate.checkpoints.write import write_checkpoint

LIMIT_S = 60.0
SYSCALLS: tuple[str, ...] = (
    "write",
    "pwrite64",
    "writev",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "renameat",
    "renameat2",
)
SYSCALLS += ("mkdir", "mkdirat", "unlink", "unlinkat", "rmdir", "link", "linkat", "symlink", "symlinkat")
_LINE = re.compile(rf"^\d+ +({'|'.join(SYSCALLS)})\((.*)$")
_PTRACER, _ANY_PROCESS = 0x59616D61, ctypes.c_ulong(-1)


@dataclass(frozen=True)
class Boundary:
    """A system call of a writer: the call, and the names of its files or folders."""

    call: str
    names: tuple[str, ...]

    @property
    def kind(self) -> str:
        """``write``, ``fsync``, ``rename``, ``make`` or ``remove``."""
        if "write" in self.call:
            return "write"
        if "sync" in self.call:
            return "fsync"
        if "rename" in self.call:
            return "rename"
        return "make" if "mk" in self.call else "remove"


@dataclass(frozen=True)
class Job:
    """The work at the end of a chunk: write a checkpoint into ``parent``, prune, mark it as gated."""

    parent: Path
    stage: str
    step: int
    keep: int
    run: str
    gate: str | None = "stage"
    protect: tuple[Path, ...] = ()

    def do(self) -> None:
        """Write and prune as training does, and mark the checkpoint as the loop does."""
        weights = read_model_state(foreign_folder(self.stage))
        reference = write_checkpoint(
            self.parent,
            self.stage,
            self.step,
            model_state=weights,
            optim_state=trained_optimizer(weights),
            state={"config": read_state(foreign_folder(self.stage))["config"]},
            manifest={"run": self.run},
        )
        Retention(self.parent, self.stage, self.keep).prune(self.protect)
        if self.gate is not None:
            mark_gated(reference.path, self.gate)


def trained_optimizer(weights: dict[str, Any]) -> dict[str, Any]:
    """Return the state of an AdamW after a step on weights of these shapes: two moments per parameter."""
    import torch

    parameters = [torch.nn.Parameter(value.clone()) for value in weights.values() if value.is_floating_point()]
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer.state_dict()


# Killed by strace: the kernel ends the process at the entry of the call.


def strace() -> str | None:
    """Return the path of strace if it may attach here, else None."""
    found = shutil.which("strace")
    if found is None:
        return None
    with _child(_wait, None) as (child, go):
        traced = _attaches(found, child)
        go.send(None)
    return found if traced else None


def _attaches(found: str, child: BaseProcess) -> bool:
    tracer = subprocess.Popen([found, "-o", os.devnull, "-p", str(child.pid)], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    attached = "attached" in tracer.stderr.readline()
    tracer.terminate()
    tracer.communicate(timeout=LIMIT_S)
    return attached


def run_traced(job: Job, log: Path, kill: tuple[str, int] | None = None) -> int | None:
    """Run ``job`` under strace; kill it at the entry of its n-th call of a kind (1, 2, …), or let it end.

    Returns the writer's exit code (-9 when it was killed); ``log`` receives every call.
    """
    inject = [] if kill is None else ["-e", f"inject={kill[0]}:signal=KILL:when={kill[1]}"]
    with _child(_do, job) as (child, go):
        tracer = subprocess.Popen(
            [
                *("strace", "-f", "-y", "-o", str(log), "-e", f"trace={','.join('?' + one for one in SYSCALLS)}"),
                *inject,
                *("-p", str(child.pid)),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tracer.stderr is not None
        first = tracer.stderr.readline()
        assert "attached" in first, first
        go.send(None)
        child.join(LIMIT_S)
        tracer.communicate(timeout=LIMIT_S)
        return child.exitcode


def traced_boundaries(log: Path) -> list[Boundary]:
    """Return the calls in a log of strace, in order."""
    found = []
    for line in log.read_text(encoding="utf-8").splitlines():
        match = _LINE.match(line)
        if match:
            # Descriptors are shown with their path, other paths as text.
            paths = re.findall(r'\d<(/[^>]*)>|"([^"]*)"', match[2]) if match[1] != "write" else []
            paths = paths or re.findall(r"\d<(/[^>]*)>()", match[2])
            found.append(Boundary(match[1], tuple(Path(a or b).name for a, b in paths)))
    return found


# Killed by its own hand: the calls of the writer's process are wrapped in Python.


Kill = int | tuple[str, str] | None
"""Where a writer kills itself: before its n-th boundary (0, 1, …), or before the first call on a name (its start)."""


def run_wrapped(job: Job, log: Path, kill: Kill = None) -> int | None:
    """Run ``job`` in a process that logs its boundaries and kills itself before the one of ``kill``, if given."""
    with _child(_do_wrapped, (job, log, kill)) as (child, go):
        go.send(None)
        child.join(LIMIT_S)
        return child.exitcode


def wrapped_boundaries(log: Path) -> list[Boundary]:
    """Return the boundaries in a log of ``run_wrapped``, in order."""
    words = [line.split("\t") for line in log.read_text(encoding="utf-8").splitlines()]
    return [Boundary(call, tuple(names)) for call, *names in words]


class _Counter:
    def __init__(self, log: Path, kill: Kill) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._kill, self._count = kill, 0

    def reached(self, call: str, *names: str) -> None:
        os.write(self._log, ("\t".join((call, *names)) + "\n").encode())
        named = self._kill if isinstance(self._kill, tuple) else None
        if self._kill == self._count or (named and call == named[0] and names[0].startswith(named[1])):
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1


def wrap_calls(log: Path, kill: Kill) -> None:
    """Make this process kill itself before one of its changes of the disk; it logs each change first."""
    counter = _Counter(log, kill)
    open_file = io.open

    class CountedFile(io.FileIO):
        def write(self, data: Any) -> int:
            name, view = Path(str(self.name)).name, memoryview(data).cast("B")
            counter.reached("write", name)
            half = super().write(view[: len(view) // 2]) or 0
            counter.reached("write-half", name)
            return half + (super().write(view[half:]) or 0)

    def counted_open(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
        if "x" in mode and buffering == 0:
            return CountedFile(file, "x")
        assert mode.strip("bt") == "r", f"{file} is opened to write ({mode}) by a way that is not counted"
        return open_file(file, mode, buffering, *rest, **more)

    def counted(module: Any, name: str) -> None:
        original = getattr(module, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            counter.reached(name, *_names_of(name, arguments))
            return original(*arguments, **keywords)

        setattr(module, name, call)

    io.open = counted_open
    for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir"):
        counted(os, name)


def _names_of(call: str, arguments: Sequence[Any]) -> list[str]:
    if call == "fsync":
        return [Path(os.readlink(f"/proc/self/fd/{arguments[0]}")).name]
    return [Path(one).name for one in arguments if isinstance(one, str | Path)]


# The child: forked from a process that has imported torch already.


@contextmanager
def _child(target: Callable[[Connection, Any], None], argument: Any) -> Iterator[tuple[BaseProcess, Connection]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)  # one server serves all tests of a session
    ours, theirs = context.Pipe()
    child = context.Process(target=target, args=(theirs, argument))
    child.start()
    theirs.close()
    try:
        assert ours.recv() == "ready"
        yield child, ours
        child.join(LIMIT_S)
    finally:
        child.kill()
        child.join()
        ours.close()


def _wait(go: Connection, _: object) -> None:
    # Where only ancestors may trace a process (Yama), any may trace this one.
    ctypes.CDLL(None).prctl(_PTRACER, _ANY_PROCESS, 0, 0, 0)
    go.send("ready")
    go.recv()


def _do(go: Connection, job: Job) -> None:
    import torch

    torch.set_num_threads(1)
    _wait(go, None)
    job.do()
    sys.stdout.flush()


def _do_wrapped(go: Connection, argument: tuple[Job, Path, Kill]) -> None:
    import torch

    torch.set_num_threads(1)
    job, log, kill = argument
    _wait(go, None)
    wrap_calls(log, kill)
    job.do()
