"""Start a process with a chosen PID, to simulate PID reuse."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
TRIES = 200


def why_no_pid_can_be_chosen() -> str | None:
    """Return why the last PID cannot be set in the kernel, or None if it can."""
    try:
        LAST_PID.write_text(LAST_PID.read_text())
    except OSError as error:
        return f"needs write access to {LAST_PID} (root, in a kernel with checkpoint and restore): {error.strerror}"
    return None


@contextmanager
def with_pid(pid: int, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process with this free PID; retries if other processes start meanwhile."""
    for _ in range(TRIES):
        LAST_PID.write_text(str(pid - 1))
        process = subprocess.Popen(list(command), stdin=subprocess.DEVNULL)
        if process.pid == pid:
            break
        process.kill()
        process.wait()
    else:
        raise AssertionError(f"PID {pid} was not given to a new process in {TRIES} tries")
    try:
        yield process
    finally:
        process.kill()
        process.wait()
