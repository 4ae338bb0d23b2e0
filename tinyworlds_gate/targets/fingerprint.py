"""Fingerprint the files of a checkout before and after a run: only the folders in ``MAY_CHANGE`` may differ.

The ``.git`` folder, virtual environments (with ``pyvenv.cfg``) and the targets of links are excluded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tinyworlds_gate.targets.checkout import MAY_CHANGE

WHOLE_BYTES = 16 * 2**20
"""Larger files are compared by size and modification time, not by content."""
SHOWN = 5


def fingerprint(root: Path) -> dict[str, str]:
    """Return relative path → state (SHA-256, or size and modification time), for every file that must not change.

    A file that cannot be read is compared by size and modification time.
    """
    return {path.relative_to(root).as_posix(): _state(path) for path in _files(root)}


def changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return one clause per added, removed or changed file, sorted by name; empty if nothing changed."""
    clauses = []
    for name in sorted({*before, *after}):
        if name not in before:
            clauses.append(f"{name} was added")
        elif name not in after:
            clauses.append(f"{name} was removed")
        elif before[name] != after[name]:
            clauses.append(f"{name} was changed")
    return clauses


def describe_changes(changes: list[str]) -> str:
    """Return the first few changes as part of a sentence."""
    more = f", and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return ", ".join(changes[:SHOWN]) + more


def fingerprint_digest(tree: Mapping[str, str]) -> str:
    """Return one SHA-256 over a fingerprint."""
    text = "\n".join(f"{name}\t{state}" for name, state in sorted(tree.items()))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _files(root: Path) -> Iterator[Path]:
    free = {root / name for name in MAY_CHANGE}
    for folder, names, files in os.walk(root):
        here = Path(folder)
        names[:] = sorted(
            name
            for name in names
            if here / name not in free and name != ".git" and not (here / name / "pyvenv.cfg").is_file()
        )
        links = [name for name in names if (here / name).is_symlink()]
        yield from (here / name for name in sorted((*files, *links)))


def _state(path: Path) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    status = path.stat()
    if status.st_size > WHOLE_BYTES or not path.is_file():
        return f"{status.st_size} bytes at {status.st_mtime_ns}"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return f"{status.st_size} bytes at {status.st_mtime_ns}"
