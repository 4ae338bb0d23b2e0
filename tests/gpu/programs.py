"""Programs that run on the GPUs in these tests: a stage that follows a plan, and processes outside the launcher.

The plan is a list with one entry a rank: ``gpu`` (index, or null for the CPU), ``seconds`` of life after all ranks are
ready, ``work`` (spans of those seconds with matrix products, each followed by a step; always, with ``reduce``),
``beats`` (whether it writes heartbeats), ``idle_steps`` (steps grow without GPU work, too), ``backend`` (null, gloo,
nccl) and ``reduce`` (an all_reduce each step).
"""

from __future__ import annotations

STAGE = r"""
import json, os, sys, time
from contextlib import nullcontext

import torch
import torch.distributed as dist

from tinyworlds_gate.run.heartbeat import Heartbeat, gpu_uuid

rank = int(os.environ.get("RANK", 0))
plan = json.loads(os.environ["PLAN"])[rank]
on_gpu = plan["gpu"] is not None
device = torch.device("cuda", plan["gpu"]) if on_gpu else torch.device("cpu")
if on_gpu:
    torch.cuda.set_device(device)
else:
    torch.set_num_threads(1)
if plan["backend"] == "nccl":
    dist.init_process_group("nccl", device_id=device)
elif plan["backend"]:
    dist.init_process_group(plan["backend"])
side = 4096 if on_gpu else 128
matrix = torch.randn(side, side, device=device)
product = torch.empty_like(matrix)
total = torch.ones(1, device=device if plan["backend"] == "nccl" else "cpu")

def work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        torch.mm(matrix, matrix, out=product)
        if on_gpu:
            torch.cuda.synchronize()

def is_working(since):
    return any(begin <= since < end for begin, end in plan["work"])

torch.mm(matrix, matrix, out=product)  # the libraries' own start is over before the ranks begin together
if plan["reduce"]:
    dist.all_reduce(total)
if on_gpu:
    torch.cuda.synchronize()
uuid = gpu_uuid(plan["gpu"]) if on_gpu else "cpu"
time.sleep(2.5 if on_gpu else 0)  # NVML looks back: the libraries' start is no work of the plan
if plan["backend"]:
    dist.barrier()
began, step = time.monotonic(), 0

# With a collective in each step all ranks take the same number of them: rank 0 says when it is over.
def go_on():
    going = time.monotonic() - began < plan["seconds"]
    if not plan["reduce"]:
        return going
    word = torch.tensor([float(going)], device=device)
    dist.broadcast(word, src=0)
    return bool(word.item())

with (Heartbeat.from_environment(rank, uuid) if plan["beats"] else nullcontext()) as heartbeat:
    while go_on():
        working = plan["reduce"] or is_working(time.monotonic() - began)
        if working:
            work(0.05)
            if plan["reduce"]:
                total.fill_(1.0)
                dist.all_reduce(total)
        else:
            time.sleep(0.05)
        if working or plan["idle_steps"]:
            if heartbeat is not None:
                heartbeat.beat(step)
            step += 1
print("steps", step, flush=True)
if plan["backend"]:
    dist.barrier()
    dist.destroy_process_group()
"""

# Works on a GPU until its parent is gone or its time is over; it is no process of the launcher.
FOREIGN = r"""
import os, sys, time
import torch
parent = os.getppid()
device = torch.device("cuda", int(sys.argv[1]))
matrix = torch.randn(4096, 4096, device=device)
product = torch.empty_like(matrix)
end = time.monotonic() + float(sys.argv[2])
torch.mm(matrix, matrix, out=product)
torch.cuda.synchronize()
print("ready", flush=True)
while time.monotonic() < end and os.getppid() == parent:
    for _ in range(5):
        torch.mm(matrix, matrix, out=product)
    torch.cuda.synchronize()
"""

# Takes the GPU's memory except for so many GiB, and holds it.
BALLAST = r"""
import os, sys, time
import torch
parent = os.getppid()
device = torch.device("cuda", int(sys.argv[1]))
torch.ones(1, device=device)
free, _ = torch.cuda.mem_get_info(device)
held = torch.empty(max(int(free - float(sys.argv[2]) * 2**30), 1), dtype=torch.uint8, device=device)
print("ready", torch.cuda.mem_get_info(device)[0] / 2**30, flush=True)
end = time.monotonic() + float(sys.argv[3])
while time.monotonic() < end and os.getppid() == parent:
    time.sleep(0.2)
"""
