"""Two gloo workers of one chunk on a machine whose own name does not resolve.

python -m tests.faults.nameless_run ROOT
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from pathlib import Path

from tests.helpers import process_stages
from tests.helpers.process_projects import make_project
from tinyworlds_gate.cli.doctor_machine import own_name
from tinyworlds_gate.launch.chunk_watch import ChunkSettings
from tinyworlds_gate.launch.command import stage_command, stage_environment
from tinyworlds_gate.launch.failure_text import failure_text
from tinyworlds_gate.launch.launcher import chunk_files, run_chunk
from tinyworlds_gate.run.layout import RunLayout

NAME = "no-such-name-here"
NO_NAMESPACE = 77
_CLONE_NEWUTS = 0x04000000


def main() -> int:
    """Rename the machine for this process alone, train a chunk and print what came of it; 77 without the right to."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUTS) or libc.sethostname(NAME.encode(), len(NAME)):
        print(os.strerror(ctypes.get_errno()))
        return NO_NAMESPACE
    target = make_project(Path(sys.argv[1]), process_stages.GLOO)
    layout = RunLayout(target.root, "a").create()
    result = run_chunk(
        target,
        layout,
        ChunkSettings(2, 0.5, 1.0, 2, True, deadline_s=100.0, stall_s=60.0),
        stage="dynamics",
        chunk=1,
        command=stage_command(target, "dynamics", nproc_per_node=2),
        env=stage_environment(target, chunk_files(layout, 1), on_cpu=True),
    )
    print(own_name(socket.gethostname()).found)
    print(result.cause, [worker.steps for worker in result.workers])
    if not result.ok:
        print(failure_text(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
