"""Short stage programs with heartbeats for the launcher's tests, mostly without torch."""

from __future__ import annotations

HEAD = """
import os, signal, subprocess, sys, time
from tinyworlds_gate.run.heartbeat import Heartbeat
RANK = int(os.environ.get("RANK", 0))
def work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))
"""

# Steps of 50 ms until the number in the environment is reached.
STEPS = (
    HEAD
    + """
with Heartbeat.from_environment(RANK) as heartbeat:
    for step in range(int(os.environ.get("STEPS", 20))):
        work(0.05)
        heartbeat.beat(step)
print("done", flush=True)
"""
)

HANGS = (
    HEAD
    + """
heartbeat = Heartbeat.from_environment(RANK)
heartbeat.beat(0, force=True)
def waits_for_ever():
    time.sleep(60)
waits_for_ever()
"""
)

# Rank 1 raises what the environment says once rank 0 has shown itself; rank 0 waits for it, as in a collective.
RANK_1_FAILS = (
    HEAD
    + """
heartbeat = Heartbeat.from_environment(RANK)
print("rank", RANK, "pid", os.getpid(), flush=True)
if RANK == 1:
    from pathlib import Path
    while not list(Path(os.environ["TINYWORLDS_GATE_HEARTBEATS"]).glob("rank_0_*.jsonl")):
        time.sleep(0.05)
    exec(os.environ["FAULT"])
time.sleep(60)
"""
)

# No heartbeats at all, as in a TinyWorlds checkout: only the log grows.
SILENT = (
    HEAD
    + """
for step in range(8):
    print("step", step, flush=True)
    work(0.1)
if os.environ.get("THEN_HANG"):
    time.sleep(60)
"""
)

GLOO = (
    HEAD
    + """
import torch, torch.distributed as dist
torch.set_num_threads(1)
dist.init_process_group("gloo")
with Heartbeat.from_environment(RANK) as heartbeat:
    for step in range(20):
        work(0.05)
        total = torch.ones(1)
        dist.all_reduce(total)
        heartbeat.beat(step)
os.write(1, b"sum %d\\n" % int(total))
dist.destroy_process_group()
"""
)

# Rank 1 ends by the signal in the environment; rank 0 loses its peer, says so and is gone before torchrun looks.
GLOO_RANK_1_ENDS = (
    HEAD
    + """
import torch, torch.distributed as dist
torch.set_num_threads(1)
dist.init_process_group("gloo")
try:
    for step in range(100_000):
        if (RANK, step) == (1, 20):
            os.kill(os.getpid(), int(os.environ["SIGNAL"]))
        total = torch.ones(1)
        dist.all_reduce(total)
except RuntimeError as error:
    print("RuntimeError:", str(error)[-300:], file=sys.stderr, flush=True)
    os._exit(1)
"""
)

# What torch's decorator ``record`` leaves where torchrun says (the real one is read in test_launch_cause.py).
RECORD_OUT_OF_MEMORY = """
import json
failure = {"message": "MemoryError: 8 GiB", "extraInfo": {"py_callstack": "", "timestamp": "1700000000"}}
open(os.environ["TORCHELASTIC_ERROR_FILE"], "w").write(json.dumps({"message": failure}))
os._exit(1)
"""
