"""Faults of GPUs and of NVML."""

from __future__ import annotations

from tests.faults.fault import Fault

RANKS = "Two ranks run under torchrun;"
STAND_IN = "a stand-in for NVML, whose GPUs follow the ranks' own processes,"
COUNTS = "The chunk counts, and no parameter changes."
STOPS = (
    "A probe of the same command looks for evidence and finds none. The stage stops as INVALID, and its trained "
    "checkpoint is kept."
)

ROWS: tuple[Fault, ...] = (
    Fault(
        id="nvml-missing",
        title="NVIDIA's Python library is not installed.",
        injected=f"{RANKS} the module `pynvml` cannot be imported.",
        loop=f"{COUNTS} The only evidence is the ranks' heartbeats and CPU time.",
        report="A6: `dual_gpu_ok unknown: no GPU (the module pynvml … cannot be imported …); CPU workers at the same "
        "time: …`; H6 NOT-RUN: `needs 2 NVIDIA GPUs, found 0`.",
        slow=True,
        requirements=("L3", "H6"),
    ),
    Fault(
        id="nvml-init-fails",
        title="The driver was updated on a running system, so NVML does not start.",
        injected=f"{RANKS} {STAND_IN} fails to start.",
        loop=f"{STOPS} Without measurements, nothing is claimed.",
        report="A6: `dual_gpu_ok unknown: NVML is not available: RM has detected … mismatch; heartbeats name GPU-0, "
        "GPU-1 …`; H6 INVALID with the same reason.",
        slow=True,
        requirements=("L3", "H6"),
    ),
    Fault(
        id="nvml-fails-mid-run",
        title="Every NVML call fails from some moment on.",
        injected=f"{RANKS} {STAND_IN} returns 12 readings and then fails.",
        loop=f"{STOPS} A value that could not be read is unknown, not zero.",
        report="A6: `dual_gpu_ok unknown: … do not show whose work the GPUs did …; NVML failed last with: nvml…: "
        "Unknown Error`; H6 INVALID.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="gpu-lost",
        title="One of two GPUs is lost to the driver while the chunk runs.",
        injected=f"{RANKS} {STAND_IN} returns `GPU is lost` for one of them after 8 readings.",
        loop=f"{STOPS} A lost GPU is not treated as an idle one.",
        report="A6: `dual_gpu_ok unknown: … own work seen on GPU-0 in …, GPU-1 in 0 …; NVML failed last with: …: GPU "
        "is lost`; H6 INVALID.",
        slow=True,
        requirements=("L3", "H6"),
    ),
    Fault(
        id="host-pids",
        title="In a container the driver reports the host's PIDs.",
        injected=f"{RANKS} {STAND_IN} adds 3,000,000 to every PID.",
        loop=f"{COUNTS} Instead of PIDs it uses heartbeats that name the GPUs, together with utilisation and memory "
        "over the "
        "baseline. Without heartbeats nothing attributes the work to this launcher: the stage stops, and its trained "
        "checkpoint is kept.",
        report="A6: `dual_gpu_ok True: … by heartbeats, utilisation and memory over the baseline`; without heartbeats "
        "`unknown: … do not show whose work the GPUs did`.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="heartbeats-missing",
        title="The workers write no heartbeats (a TinyWorlds checkout).",
        injected=f"{RANKS} they write no heartbeats.",
        loop=f"{COUNTS} NVML's utilisation by process shows the ranks' own PIDs in a row of consecutive samples.",
        report="A6: `dual_gpu_ok True: … by utilisation of this launcher's own processes`.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="heartbeats-torn",
        title="A heartbeat file holds torn lines, in its middle and at its end.",
        injected=f"{RANKS} rank 1 appends incomplete lines and NUL bytes to its own file.",
        loop=f"{COUNTS} Torn lines are skipped, the others are read.",
        report="A6: `dual_gpu_ok True: …; every rank's step grew`.",
        requirements=("L3", "H6"),
    ),
    Fault(
        id="mig-slices",
        title="The two devices are slices of one GPU (MIG).",
        injected=f"{RANKS} {STAND_IN} has one GPU in MIG mode with two slices.",
        loop=f"{STOPS} Slices are reported as slices and never counted as two GPUs.",
        report="A6: `dual_gpu_ok unknown: MIG-0, MIG-1 are MIG slices, not GPUs; …`; H6 INVALID.",
        slow=True,
        requirements=("L3", "H6"),
    ),
    Fault(
        id="ranks-share-a-gpu",
        title="Both ranks use one GPU while another process keeps the other GPU busy.",
        injected=f"{RANKS} in the first try both use GPU 0, and {STAND_IN} shows a foreign process on GPU 1.",
        loop="The device check fails the chunk. A probe of the same command shows that evidence can be had. The stage "
        "goes on once from the trained checkpoint with the same parameters (T6), and this chunk, on two GPUs, counts.",
        report="A6: `dual_gpu_ok False: the ranks share GPUs: rank 0 on GPU-0, rank 1 on GPU-0`; A5: `T6: guard: the "
        "device check failed: …`.",
        slow=True,
        requirements=("L3", "H6", "T6"),
    ),
)
