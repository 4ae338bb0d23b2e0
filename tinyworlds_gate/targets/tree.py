"""The files of a checkout before and after a run: nothing but the folders of ``MAY_CHANGE`` may differ.

Left out are git's own folder, environments (a folder with ``pyvenv.cfg``) and what lies behind links.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tinyworlds_gate.targets.checkout import MAY_CHANGE

WHOLE_BYTES = 16 * 2**20
"""Larger files are known by their size and time of change, not by their bytes."""
SHOWN = 5


def fingerprint(root: Path) -> dict[str, str]:
    """Relative path → what the file is, for every file that must stay as it is.

    A file that cannot be read is known by its size and time of change.
    """
    return {path.relative_to(root).as_posix(): _state(path) for path in _files(root)}


def changed_files(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What was added, removed or changed, a clause each, in the order of the names; none: the tree is the same."""
    clauses = []
    for name in sorted({*before, *after}):
        if name not in before:
            clauses.append(f"{name} was added")
        elif name not in after:
            clauses.append(f"{name} was removed")
        elif before[name] != after[name]:
            clauses.append(f"{name} was changed")
    return clauses


def told_changes(changes: list[str]) -> str:
    """The first few of the changes, as a part of a sentence."""
    more = f", and {len(changes) - SHOWN} more" if len(changes) > SHOWN else ""
    return ", ".join(changes[:SHOWN]) + more


def digest_of(tree: Mapping[str, str]) -> str:
    """One SHA-256 over a fingerprint."""
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
