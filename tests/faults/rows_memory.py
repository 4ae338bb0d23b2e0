"""Rows of the fault matrix: memory."""

from __future__ import annotations

from tests.faults.fault import Fault

DEGRADED = "A5: `The run is degraded: video_tokenizer had to fall to a batch of 1 per GPU. The cause: out_of_memory …`"

ROWS: tuple[Fault, ...] = (
    Fault(
        id="memory-limit-ladder",
        title="A batch of 8, 4 and 2 does not fit into the machine's memory.",
        injected="The stage's process limits its own address space (`RLIMIT_AS`) as a smaller machine would; NumPy "
        "asks for more.",
        loop="The batch is halved three times, 8 → 4 → 2 → 1 (T1), over the same updates; the stage ends DEGRADED "
        "(H8).",
        report=f"{DEGRADED}; each retune with its old and new effective batch.",
        requirements=("T1", "H8", "H9", "P2", "A5"),
    ),
    Fault(
        id="memory-limit-training",
        title="The same with the reference's real training.",
        injected="The tokenizer's own training under an address-space limit between what one clip and two clips need.",
        loop="8 → 4 → 2 → 1 by the exception in the log and in torch's error file; one clip trains, the stage ends "
        "DEGRADED.",
        report=DEGRADED,
        requirements=("T1", "H8", "H9", "P2", "A5", "S4"),
        slow=True,
    ),
    Fault(
        id="memory-limit-floor",
        title="Not even one clip fits.",
        injected="PyTorch asks for more than the address-space limit gives, at a batch of 1.",
        loop="The stage fails at once, whatever is left of the budget: nothing can be halved any more.",
        report="A5: `Out of memory at batch_size_per_gpu 1, the floor: a smaller model or more memory is needed.`",
        requirements=("T1", "A5"),
    ),
    Fault(
        id="memory-library-abort",
        title="A numeric library ends the process itself when it finds no memory.",
        injected="OpenBLAS under an address-space limit: it prints a line and exits with code 1, no Python exception.",
        loop="Told by that line as out of memory; the batch is halved.",
        report=DEGRADED,
        requirements=("T1",),
    ),
    Fault(
        id="kernel-oom-kill",
        title="The kernel's OOM killer ends the worker.",
        injected="The process joins a memory cgroup (version 1 or 2) of its own and touches more than its limit; "
        "beside it the same process in the same cgroup is ended by another process's SIGKILL.",
        loop="The kernel's kill is out of memory and halves the batch (T1); the other SIGKILL is `killed` and changes "
        "nothing (T6). Only the counter of the worker's own cgroup tells them apart.",
        report=f"{DEGRADED} after the kernel's kill only.",
        requirements=("T1", "T6", "H8", "A5"),
    ),
    Fault(
        id="kernel-oom-kill-rank",
        title="The kernel's OOM killer ends one of two ranks.",
        injected="Rank 1 of a real gloo training joins a memory cgroup of its own and eats more than its limit.",
        loop="Told from any other exit code -9 of torchrun's summary by the rank's own cgroup; the batch is halved.",
        report="A5: `T1: out_of_memory: … rank 1 was ended by SIGKILL`.",
        requirements=("T1", "H9", "L2"),
        slow=True,
    ),
    Fault(
        id="memory-inference",
        title="Inference runs out of memory.",
        injected="The inference process under an address-space limit that two clips fit into, not four.",
        loop="The same attempt is run again with half the clips at once until it fits; dynamics is not retrained "
        "for it.",
        report="A5: `Inference attempt 1: it ran out of memory and is run again with batch_size 4 → 2.`",
        requirements=("L6", "H9", "G1"),
    ),
    Fault(
        id="memory-inference-floor",
        title="Inference runs out of memory with a single clip.",
        injected="The same under a limit that one clip does not fit into.",
        loop="Nothing is judged and nothing retrained; the run stops and can be resumed on a machine with more memory.",
        report="Terminal: `Inference ran out of memory with a single clip at a time … go on with --resume-run`; A5 "
        "tells each try.",
        requirements=("L6", "L8"),
    ),
)
