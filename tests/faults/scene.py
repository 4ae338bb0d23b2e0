"""Checks of every fault test: bystanders unharmed, nothing lost, nothing left running."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import psutil

from tinyworlds_gate.checkpoints.layout import parse_folder_name
from tinyworlds_gate.launch.command import PROJECT_VARIABLE, RUN_ROOT_VARIABLE
from tinyworlds_gate.launch.processes.find import own_ancestry

GONE_WITHIN_S = 5.0
"""Time for a signalled process to end on a busy machine."""


@dataclass
class Scene:
    """A project in a fault test, with its bystander and the ledger of files that must survive."""

    root: Path
    bystander: subprocess.Popen[bytes]
    ledger: Ledger

    def hold(self) -> None:
        """Add everything that exists now to the ledger; call it again when there are new files."""
        self.ledger.hold()


@contextmanager
def scene_of(root: Path, script: Path) -> Iterator[Scene]:
    """Start a bystander on a stage script of the project in ``root``; at the end nothing may be missing.

    The ledger takes a first entry at once. Afterwards the bystander must be alive and the ledger must be kept; raises
    AssertionError otherwise (only where the block itself has raised nothing).
    """
    bystander = subprocess.Popen(
        ["tail", "-f", str(script)], cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        scene = Scene(root, bystander, Ledger(root))
        scene.hold()
        yield scene
        assert bystander.poll() is None, f"the bystander (tail -f {script.name}) ended with {bystander.returncode}"
        problems = scene.ledger.problems()
        assert not problems, "lost: " + "; ".join(problems)
    finally:
        bystander.kill()
        bystander.wait()


@dataclass
class Ledger:
    """Checkpoints by hash, journals and logs by their bytes."""

    root: Path
    checkpoints: dict[tuple[Path, str], dict[str, str]] = field(default_factory=dict)
    """(Checkpoint folder, name) → file name → SHA-256."""
    texts: dict[Path, bytes] = field(default_factory=dict)
    """Journals and logs; the recorded bytes must stay the beginning of the file."""

    def hold(self) -> None:
        """Add the current complete checkpoints below results/, journals and logs."""
        for folder in self.root.glob("results/*/*/checkpoints/*"):
            if parse_folder_name(folder.name):
                self.checkpoints[folder.parent, folder.name] = _content(folder)
        for pattern in ("results/*/journal.jsonl", "results/*/logs/*.log"):
            for path in self.root.glob(pattern):
                content = path.read_bytes()
                self.texts[path] = content[: content.rfind(b"\n") + 1]

    def problems(self) -> list[str]:
        """Return a sentence for each missing or altered item; a checkpoint may have been renamed."""
        found = []
        for (parent, name), content in self.checkpoints.items():
            if not any(_content(folder) == content for folder in parent.iterdir() if folder.is_dir()):
                found.append(f"checkpoint {name} is gone or altered")
        for path, before in self.texts.items():
            if not path.exists():
                found.append(f"{path.relative_to(self.root)} is gone")
            elif not path.read_bytes().startswith(before):
                found.append(f"{path.relative_to(self.root)} no longer begins as it did")
        return found


def _content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def processes_below(base: Path) -> list[psutil.Process]:
    """Live processes that belong to projects below ``base``: by working folder, by what a harness put into their
    environment, or by command line. This process and its ancestors never count."""
    found, never = [], own_ancestry()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            alive = process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
            if process.pid not in never and process.uids().real == os.getuid() and alive and _is_below(process, base):
                found.append(process)
    return found


def _is_below(process: psutil.Process, base: Path) -> bool:
    if any(str(base) in word for word in process.cmdline()):
        return True
    with suppress(psutil.Error, OSError):
        env = process.environ()
        if any(str(base) in env.get(name, "") for name in (PROJECT_VARIABLE, RUN_ROOT_VARIABLE)):
            return True
    return Path(process.cwd()).is_relative_to(base)


def left_running(base: Path, within_s: float = GONE_WITHIN_S) -> list[str]:
    """Return the processes that still run after ``within_s`` seconds, and end them."""
    deadline = time.monotonic() + within_s
    while (left := processes_below(base)) and time.monotonic() < deadline:
        time.sleep(0.05)
    found = []
    for process in left:
        with suppress(psutil.Error):
            found.append(f"PID {process.pid} ({process.status()}): {' '.join(process.cmdline())}")
            process.kill()
    return found
