"""Leaving the process group ends all of its threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, socket, os
from pathlib import Path

def threads():
    return sorted(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    os.environ["MASTER_PORT"] = str(free.getsockname()[1])

import torch
from torch.nn.parallel import DistributedDataParallel
from tinyworlds_gate.reference.training.distributed import worker_session

def work(worker):
    model = DistributedDataParallel(torch.nn.Linear(4, 4))
    model(torch.ones(2, 4)).sum().backward()
    worker.gather({"a": torch.ones(3)})
    worker.barrier()

with worker_session(use_ddp=True, device_setting="cpu") as worker:
    work(worker)
    inside = threads()
print(json.dumps([inside, threads()]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed in /proc, on Linux only")
def test_no_thread_of_gloo_outlives_the_worker_session() -> None:
    """A thread that still ran at exit aborted workers after all their work was done."""
    group = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | group,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    inside, after = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in inside if "gloo" in name], inside
    assert [name for name in after if "gloo" in name] == []
