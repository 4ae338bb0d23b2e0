"""Ends a launch when the harness dies without ending it (SIGKILL, the OOM killer): nothing trains on unwatched.

The harness starts it beside every launch, holds the other end of its stdin, and writes a line there once it has ended
the launch itself. When stdin ends without that line, or the harness is gone, the processes that carry the launch's
marker are ended, and the launch's log says so. Why not PR_SET_PDEATHSIG: it reaches only the launcher itself, ends with
the thread that started it, and knows neither workers that ignore SIGTERM nor orphans.

python -m tinyworlds_gate.launch.processes.tether TOKEN LOG HARNESS_PID HARNESS_START
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tinyworlds_gate.launch.command import LAUNCH_VARIABLE, PROJECT_VARIABLE
from tinyworlds_gate.launch.processes.end import EndedProcess, end_launch
from tinyworlds_gate.run.identity import ProcessIdentity, own_identity
from tinyworlds_gate.targets.embedded import package_path

_RELEASE = b"ended\n"
_LOOK_S = 1.0
_LEAVE_S = 5.0


class Tether:
    """The harness's end: started before the launch, released after it was ended."""

    def __init__(self, token: str, log: Path) -> None:
        """Start the process; raises ``OSError`` when the machine cannot."""
        harness = own_identity()
        words = [token, os.path.abspath(log), str(harness.pid), repr(harness.start)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *words],
            cwd="/",
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def release(self) -> None:
        """Say that the launch was ended, and wait until the process is gone."""
        with suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.communicate(_RELEASE, timeout=_LEAVE_S)
        self._process.kill()
        self._process.wait()


def main(argv: Sequence[str] | None = None) -> None:
    """Wait for the harness's word or its death."""
    token, log, pid, start = sys.argv[1:] if argv is None else argv
    if _harness_died(ProcessIdentity(int(pid), float(start))):
        ended = end_launch(token)
        with suppress(OSError), open(log, "a", encoding="utf-8") as file:
            file.write(_told(int(pid), ended))


def _harness_died(harness: ProcessIdentity) -> bool:
    """Blocks. A forked child of the harness may hold our stdin open, so its identity is looked at too."""
    said = b""
    while True:
        ready, _, _ = select.select([0], [], [], _LOOK_S)
        if ready:
            chunk = os.read(0, 64)
            said += chunk
            if said == _RELEASE or not chunk:
                return said != _RELEASE
        elif not harness.is_alive():
            return True


def _told(harness: int, ended: Sequence[EndedProcess]) -> str:
    each = ", ".join(f"PID {one.pid} ({one.signal}, {one.outcome})" for one in ended) or "nothing was running"
    return f"[tinyworlds_gate] the harness (PID {harness}) died while this ran; ended: {each}\n"


def _environment() -> dict[str, str]:
    """Ours, without the markers of a launch (it must not end itself), and with this package on the path."""
    env = {name: value for name, value in os.environ.items() if name not in (LAUNCH_VARIABLE, PROJECT_VARIABLE)}
    entries = [*map(str, package_path()), *env.get("PYTHONPATH", "").split(os.pathsep)]
    return env | {"PYTHONPATH": os.pathsep.join(entry for entry in entries if entry)}


if __name__ == "__main__":
    main()
