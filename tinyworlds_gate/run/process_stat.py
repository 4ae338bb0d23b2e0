"""Read a process's state, parent, CPU time and start from /proc; cheap enough for the device monitor (L3)."""

from __future__ import annotations

import os
from typing import NamedTuple

HAS_PROC = os.path.exists("/proc/self/stat")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ProcessStat(NamedTuple):
    """One line of ``/proc/<pid>/stat``: the state's letter, the parent's PID, CPU seconds, the start in seconds since
    boot, and the device number of the controlling terminal (0: none)."""

    state: str
    parent: int
    cpu_s: float
    start_s: float
    terminal: int = 0

    @property
    def ended(self) -> bool:
        """Whether the process is a zombie or dead."""
        return self.state in ("Z", "X")


def process_stat(pid: int | str) -> ProcessStat | None:
    """Read the line of one process; None when there is none that we may see, or no ``/proc``."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The second field is the name in brackets, and may itself hold blanks and brackets.
    fields = text[text.rfind(b")") + 2 :].split(maxsplit=20)
    cpu_s = round((int(fields[11]) + int(fields[12])) / _TICKS_PER_S, 3)
    return ProcessStat(fields[0].decode(), int(fields[1]), cpu_s, int(fields[19]) / _TICKS_PER_S, int(fields[4]))
