"""Rows of the fault matrix: devices."""

from __future__ import annotations

from tests.faults.fault import Fault

RANKS = "Two ranks work under torchrun;"
STAND_IN = "a stand-in for NVIDIA's library, whose GPUs follow the ranks' own processes,"
COUNTS = "The chunk counts, nothing is retuned."

ROWS: tuple[Fault, ...] = (
    Fault(
        id="nvml-missing",
        title="NVIDIA's library for Python is not installed.",
        injected=f"{RANKS} the module `pynvml` cannot be imported.",
        loop=f"{COUNTS} The ranks' heartbeats and CPU time are the evidence there is.",
        report="A6: `dual_gpu_ok unknown: no GPU (the module pynvml … cannot be imported …); CPU workers at the same "
        "time: …`; H6 NOT-RUN: `needs 2 NVIDIA GPUs, found 0`.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="nvml-init-fails",
        title="The driver was updated under a running system: its library does not start.",
        injected=f"{RANKS} {STAND_IN} refuses to start.",
        loop=f"{COUNTS} Nothing was seen, so nothing is claimed.",
        report="A6: `dual_gpu_ok unknown: NVML is not available: RM has detected … mismatch; heartbeats name GPU-0, "
        "GPU-1 …`; H6 INVALID with the same words.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="nvml-fails-mid-run",
        title="Every call of NVIDIA's library fails from some moment on.",
        injected=f"{RANKS} {STAND_IN} answers 12 readings and then fails.",
        loop=f"{COUNTS} What could not be read is unknown, never zero.",
        report="A6: `dual_gpu_ok unknown: … do not tell whose work the GPUs did …; NVML failed last with: nvml…: "
        "Unknown Error`; H6 INVALID.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="gpu-lost",
        title="One of two GPUs is lost to the driver while the chunk runs.",
        injected=f"{RANKS} {STAND_IN} answers `GPU is lost` for one of them after 8 readings.",
        loop=f"{COUNTS} A lost GPU is not taken for an idle one.",
        report="A6: `dual_gpu_ok unknown: … own work seen on GPU-0 in …, GPU-1 in 0 …; NVML failed last with: …: GPU "
        "is lost`; H6 INVALID.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="host-pids",
        title="In a container the driver reports the host's PIDs.",
        injected=f"{RANKS} {STAND_IN} adds 3,000,000 to every PID.",
        loop=f"{COUNTS} Heartbeats that name the GPUs stand in, joined with utilisation and memory over the baseline; "
        "without heartbeats nothing ties the work to this launcher.",
        report="A6: `dual_gpu_ok True: … by heartbeats, utilisation and memory over the baseline`; without heartbeats "
        "`unknown: … do not tell whose work the GPUs did`.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="heartbeats-missing",
        title="The workers write no heartbeats (a TinyWorlds checkout).",
        injected=f"{RANKS} they write none.",
        loop=f"{COUNTS} Utilisation by process shows the ranks' own PIDs, in a chain of samples that no seam explains.",
        report="A6: `dual_gpu_ok True: … by utilisation of this launcher's own processes`.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="heartbeats-torn",
        title="A heartbeat file holds torn lines, in its middle and at its end.",
        injected=f"{RANKS} rank 1 appends half lines and NUL bytes to its own file.",
        loop=f"{COUNTS} Torn lines are left out, the others are read.",
        report="A6: `dual_gpu_ok True: …; every rank's step grew`.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="mig-slices",
        title="The two devices are slices of one GPU (MIG).",
        injected=f"{RANKS} {STAND_IN} has one GPU in MIG mode with two slices.",
        loop=f"{COUNTS} Slices are named as such and never counted as two GPUs.",
        report="A6: `dual_gpu_ok unknown: MIG-0, MIG-1 are MIG slices, not GPUs; …`; H6 INVALID.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="ranks-share-a-gpu",
        title="Both ranks sit on one GPU while a foreign process keeps the other busy.",
        injected=f"{RANKS} in their first life both use GPU 0, and {STAND_IN} shows a stranger at work on GPU 1.",
        loop="The device check fails the chunk: it is tried again with the same parameters (T6), and the next life, on "
        "two GPUs, counts.",
        report="A6: `dual_gpu_ok False: the ranks share GPUs: rank 0 on GPU-0, rank 1 on GPU-0`; A5: `T6: guard: the "
        "device check failed: …`.",
        lost="the updates of that chunk, which are trained again",
        requirements=("L3", "H6", "T6"),
    ),
)
