"""Examine an HDF5 file in a process of its own, which damaged files can crash or keep busy for ever.

Run: ``python -m tinyworlds_gate.reference.data.hdf5_examine``, with a JSON path a line; it answers with a JSON line.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py

from tinyworlds_gate.reference.data.hdf5_chunks import check_chunks, storage_problem

MOST_LINKS = 100_000
_MEMORY_BYTES = 2 * 2**30
_TABLE_BYTES = 64 * 2**20
_TABLE_AXES = 3
"""Tables up to these are read whole; frames have more axes, and their chunks are read by our own code."""


def examine(path: Path) -> str | None:
    """Return why an HDF5 file is not read, for a sentence; None when nothing is wrong.

    Datasets that nobody reads may be stored elsewhere; their storage is checked when they are read.
    """
    size = path.stat().st_size
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _links_problem(file) or _exercise(file)
    except OSError as error:
        return fault(error, size)
    except Exception as error:  # noqa: BLE001 - the library raises many types for a damaged file
        return f"cannot be read ({_first_line(error)})"


def fault(error: OSError, size: int) -> str:
    """Return what HDF5 found wrong when it opened or read a file of ``size`` bytes."""
    text = str(error)
    if "truncated file" in text and "stored_eof = " in text:
        return f"is truncated: {size} of {text.rpartition('stored_eof = ')[2].split(')')[0]} bytes are there"
    if "signature not found" in text:
        return f"is not an HDF5 file ({size} bytes)"
    return f"cannot be read ({_first_line(error)})"


def _links_problem(file: h5py.File) -> str | None:
    found: list[str] = []
    seen = [0]

    def look(name: bytes, link: Any) -> bool | None:
        seen[0] += 1
        if seen[0] > MOST_LINKS:
            found.append(f"has more than {MOST_LINKS} links")
        elif link.type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            found.append(f"has a link to another file, `{name.decode('utf-8', 'replace')}`")
        return True if found else None

    file.id.links.visit(look, info=True)
    return found[0] if found else None


def _exercise(file: h5py.File) -> str | None:
    """Do with each object what a reader does with it."""

    for name in file.attrs:
        file.attrs[name]

    def look(_: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or storage_problem(item) is not None:
            return
        if item.nbytes <= _TABLE_BYTES and item.ndim <= _TABLE_AXES:
            check_chunks(item)
            item[()]

    file.visititems(look)
    return None


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def limit_memory() -> None:
    """Let a file take up to 2 GiB of this process, and leave no core file when one crashes it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 2**20
    most = pages * resource.getpagesize() + _MEMORY_BYTES
    for kind, limit in ((resource.RLIMIT_AS, most), (resource.RLIMIT_CORE, 0)):
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit, limit))


def serve() -> None:
    """Answer requests until the other end closes."""
    limit_memory()
    requests, answers = sys.stdin, os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(2, 1)
    for line in requests:
        answers.write(json.dumps(examine(Path(json.loads(line)))) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
