"""Timestamps of file names: ``YYYY_MM_DD_HH_MM_SS`` in local time, sortable as text."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

FORMAT = "%Y_%m_%d_%H_%M_%S"
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,40}")


def timestamp(unix_s: float | None = None) -> str:
    """The local time of ``unix_s`` (default: now) as ``YYYY_MM_DD_HH_MM_SS``."""
    moment = datetime.now() if unix_s is None else datetime.fromtimestamp(unix_s)
    return moment.strftime(FORMAT)


def is_plain_stamp(text: object) -> bool:
    """Whether a recorded timestamp can be part of a file name; a journal can come from somebody else."""
    return isinstance(text, str) and _PLAIN.fullmatch(text) is not None


def free_timestamp(project_root: Path, unix_s: float | None = None) -> str:
    """Return the timestamp of a new run: now, or the first later second that no run or report of the project has.

    Otherwise two runs in one second, or a clock that was set back, would overwrite the reports of the earlier run.
    """
    moment = time.time() if unix_s is None else unix_s
    taken = ""
    for name in ("results", "docs/action"):
        with suppress(OSError):  # absent or unreadable; making the run reports it
            taken += " ".join(os.listdir(Path(project_root) / name)) + " "
    while (stamp := timestamp(moment)) in taken:
        moment += 1.0
    return stamp
