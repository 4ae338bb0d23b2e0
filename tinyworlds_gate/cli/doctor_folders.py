"""Checks of `tinyworlds-gate doctor` on the folders of a project: can they be written, and locked."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinyworlds_gate.run.file_system import file_system, is_local
from tinyworlds_gate.run.flock import try_flock

OUTPUT_FOLDERS = ("results", "Logs", "inference_results", "docs/action", "data")


@dataclass(frozen=True)
class Check:
    """A result of the report; ``fix`` is what to do, or empty."""

    status: Literal["OK", "WARN", "FAIL"]
    name: str
    found: str
    fix: str = ""


def existing_parent(path: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def folders(project_root: Path) -> Iterator[Check]:
    """Check that a run can write to its output folders, by creating a temporary file."""
    refused = 0
    for name in OUTPUT_FOLDERS:
        parent = existing_parent(project_root / name)
        try:
            with tempfile.TemporaryFile(dir=parent):
                pass
        except OSError as error:
            refused += 1
            fix = f"make {parent} writable (chmod u+rwx), or free the name if it is a file"
            yield Check("FAIL", "folders", f"{name}/ cannot be written: {error.strerror}", fix)
    if not refused:
        yield Check("OK", "folders", f"writable: {', '.join(f'{name}/' for name in OUTPUT_FOLDERS)}")


def project_lock(project_root: Path) -> Check:
    """Check whether flock keeps a second run out of the project, on this machine and on others (``run/lock.py``)."""
    parent = existing_parent(project_root / "results")
    kind = file_system(parent) or "a file system of unknown type"
    try:
        with tempfile.TemporaryFile(dir=parent) as file:
            locks = try_flock(file.fileno())
    except OSError as error:
        return Check("FAIL", "lock", f"results/ takes no lock: {error.strerror}", f"make {parent} writable")
    fix = "start one run of a project at a time; after a crash on another machine, remove the lock file that is named"
    if not locks:
        found = f"results/ is on {kind}, which has no flock: only the record in the lock file keeps a second run out"
        return Check("WARN", "lock", found, fix)
    if not is_local(parent):
        found = f"results/ is on {kind}, whose flock may not reach other machines: a run of another one counts as alive"
        return Check("WARN", "lock", found, fix)
    return Check("OK", "lock", f"flock works in results/ ({kind})")
