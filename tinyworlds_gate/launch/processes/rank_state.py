"""Sample the ranks of a launch that makes no step: alive, running or waiting, and the Python functions they execute."""

from __future__ import annotations

import time
from collections.abc import Mapping

from tinyworlds_gate.launch.hang import RankState
from tinyworlds_gate.launch.processes.python_stack import python_stacks
from tinyworlds_gate.run.identity import ProcessIdentity

_SAMPLES, _INTERVAL_S = 12, 0.05


def sample_ranks(workers: Mapping[int, ProcessIdentity], gpu_busy: Mapping[int, bool | None]) -> list[RankState]:
    """Return the state of each rank (rank → its process); takes 0.6 s if there are any.

    ``gpu_busy``: rank → whether its GPU works.
    """
    if not workers:
        return []
    running = dict.fromkeys(workers, 0)
    for _ in range(_SAMPLES):
        time.sleep(_INTERVAL_S)
        for rank, one in workers.items():
            running[rank] += _main_thread_state(one.pid) == "R"
    states = []
    for rank, one in sorted(workers.items()):
        alive = one.is_alive()
        stacks = python_stacks(one.pid) if alive else None
        # The newest thread comes first, so the main thread is the last one.
        stack = stacks[-1] if stacks else None
        states.append(RankState(rank, one.pid, alive, running[rank] / _SAMPLES, stack, gpu_busy.get(rank)))
    return states


def _main_thread_state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/task/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
