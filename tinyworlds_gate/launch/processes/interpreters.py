"""Recognise a Python interpreter by its file, whatever it is called."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from tinyworlds_gate.launch.processes.command_lines import is_python

_ENTRY = b"Py_BytesMain"
"""The function that an interpreter's ``main`` calls, and that a program which only embeds Python does not have."""
_MOST_FILES = 1000

_File = tuple[int, int, int, int]
"""Device, inode, time of the last change in ns, size."""
_by_content: dict[_File, bool] = {}
_copies: dict[_File, bool] = {}

has_python_name = cache(is_python)


def is_interpreter(executable: str, link: str | None = None) -> bool:
    """Whether this file is a Python interpreter: by its name, or by its content; ``link`` can be read in its place."""
    return has_python_name(executable) or _cached(_by_content, link or executable, _holds_an_interpreter)


def is_own_interpreter(executable: str) -> bool:
    """Whether this file is a link to or a copy of the interpreter that runs this process; cheap for any other."""
    with suppress(OSError):
        if os.stat(executable).st_size == _own().stat().st_size:
            return _cached(_copies, executable, _is_copy)
    return False


def _cached(known: dict[_File, bool], executable: str, check: Callable[[str], bool]) -> bool:
    with suppress(OSError, ValueError):
        stat = os.stat(executable)
        key = (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if key not in known:
            if len(known) >= _MOST_FILES:
                known.clear()
            known[key] = check(executable)
        return known[key]
    return False


def _holds_an_interpreter(executable: str) -> bool:
    with (
        open(executable, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(_ENTRY) >= 0


def _is_copy(executable: str) -> bool:
    return os.path.samefile(executable, _own()) or Path(executable).read_bytes() == _own().read_bytes()


@cache
def _own() -> Path:
    return Path(sys.executable).resolve()
