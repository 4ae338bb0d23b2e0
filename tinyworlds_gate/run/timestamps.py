"""Timestamps of file names: ``YYYY_MM_DD_HH_MM_SS`` in local time, sortable as text."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from tinyworlds_gate.errors import GateError

FORMAT = "%Y_%m_%d_%H_%M_%S"
_SHAPE = re.compile(r"\d{4}(?:_\d{2}){5}")


def timestamp(unix_s: float | None = None) -> str:
    """The local time of ``unix_s`` (default: now) as ``YYYY_MM_DD_HH_MM_SS``."""
    moment = datetime.now() if unix_s is None else datetime.fromtimestamp(unix_s)
    return moment.strftime(FORMAT)


def free_timestamp(project_root: Path, unix_s: float | None = None) -> str:
    """The timestamp of a new run: now, or the first second after it that names no run or report of the project yet.

    A clock that was set back, or two runs in one second, would else write over the reports of the earlier run.
    """
    moment = time.time() if unix_s is None else unix_s
    taken = ""
    for name in ("results", "docs/action"):
        with suppress(OSError):  # none is there yet, or it cannot be read: that is told where the run is made
            taken += " ".join(os.listdir(Path(project_root) / name)) + " "
    while (stamp := timestamp(moment)) in taken:
        moment += 1.0
    return stamp


def parse_timestamp(text: str) -> datetime:
    """The local time that ``text`` names; raises ``GateError`` for any other shape or an impossible date."""
    if _SHAPE.fullmatch(text):
        try:
            return datetime.strptime(text, FORMAT)
        except ValueError:
            pass
    raise GateError(f"{text!r} is not a timestamp: expected YYYY_MM_DD_HH_MM_SS, for example 2025_12_31_23_59_00.")
