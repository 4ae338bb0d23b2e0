"""Watchdog process that kills the training processes if the harness dies (SIGKILL, the OOM killer).

The harness starts it with every launch, holds the other end of its stdin, and writes a line there after it has ended
the launch itself. If stdin closes without that line, or the harness is gone, the watchdog ends all processes with the
launch's marker and notes it in the launch's log. PR_SET_PDEATHSIG would not do: it reaches only the launcher itself,
is tied to the thread that started it, and misses orphans and workers that ignore SIGTERM.

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

from tinyworlds_gate.launch.command import PROJECT_VARIABLE
from tinyworlds_gate.launch.processes.end import EndedProcess, end_launch
from tinyworlds_gate.names import LAUNCH_VARIABLE
from tinyworlds_gate.run.identity import ProcessIdentity, own_identity
from tinyworlds_gate.run.owned import append_text_to
from tinyworlds_gate.targets.embedded import package_path

_RELEASE = b"ended\n"
_POLL_S = 1.0
_EXIT_S = 5.0


class Tether:
    """The harness's handle of the watchdog: created before the launch, released after its end."""

    def __init__(self, token: str, log: Path) -> None:
        """Start the watchdog process; raises ``OSError`` if that fails."""
        harness = own_identity()
        arguments = [token, os.path.abspath(log), str(harness.pid), repr(harness.start)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, *arguments],
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
        """Report that the launch was ended, and wait until the watchdog has exited."""
        with suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.communicate(_RELEASE, timeout=_EXIT_S)
        self._process.kill()
        self._process.wait()


def main(argv: Sequence[str] | None = None) -> None:
    """Wait for the release line or the death of the harness."""
    token, log, pid, start = sys.argv[1:] if argv is None else argv
    if _harness_died(ProcessIdentity(int(pid), float(start))):
        ended = end_launch(token)
        with suppress(OSError), append_text_to(Path(log)) as file:
            file.write(_log_line(int(pid), ended))


def _harness_died(harness: ProcessIdentity) -> bool:
    """Block until release (False) or death (True). A forked child can hold stdin open, so poll the PID as well."""
    received = b""
    while True:
        ready, _, _ = select.select([0], [], [], _POLL_S)
        if ready:
            chunk = os.read(0, 64)
            received += chunk
            if received == _RELEASE or not chunk:
                return received != _RELEASE
        elif not harness.is_alive():
            return True


def _log_line(harness: int, ended: Sequence[EndedProcess]) -> str:
    each = ", ".join(f"PID {one.pid} ({one.signal}, {one.outcome})" for one in ended) or "nothing was running"
    return f"[tinyworlds_gate] the harness (PID {harness}) died while this ran; ended: {each}\n"


def _environment() -> dict[str, str]:
    """Return our environment with this package on the path, without launch markers (it must not end itself)."""
    env = {name: value for name, value in os.environ.items() if name not in (LAUNCH_VARIABLE, PROJECT_VARIABLE)}
    entries = [*map(str, package_path()), *env.get("PYTHONPATH", "").split(os.pathsep)]
    return env | {"PYTHONPATH": os.pathsep.join(entry for entry in entries if entry)}


if __name__ == "__main__":
    main()
