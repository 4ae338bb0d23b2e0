"""Faults: out of memory."""

from __future__ import annotations

from tests.faults.fault import Fault

DEGRADED = "A5: `The run is degraded: video_tokenizer had to fall to a batch of 1 per GPU. The cause: out_of_memory …`"

ROWS: tuple[Fault, ...] = (
    Fault(
        id="memory-limit-ladder",
        title="Batches of 8, 4 and 2 do not fit into memory.",
        injected="The stage's process limits its own address space (`RLIMIT_AS`), and NumPy allocates more.",
        loop="The batch is halved three times, 8 → 4 → 2 → 1 (T1), for the same updates; the stage ends DEGRADED (H8).",
        report=f"{DEGRADED}; each retune with its old and new effective batch.",
        requirements=("T1", "H8", "H9", "P2", "A5"),
    ),
    Fault(
        id="memory-limit-training",
        title="The same with real training of the reference model.",
        injected="The tokenizer trains under an address-space limit that is enough for one clip, but not for two.",
        loop="8 → 4 → 2 → 1, recognised by the exception in the log and in torch's error file; one clip trains, and "
        "the stage "
        "ends DEGRADED.",
        report=DEGRADED,
        requirements=("T1", "H8", "H9", "P2", "A5", "S4"),
        slow=True,
    ),
    Fault(
        id="memory-limit-floor",
        title="Not even one clip fits.",
        injected="PyTorch allocates more than the address-space limit at a batch of 1.",
        loop="The stage fails at once, even with retries left, because the batch cannot be halved.",
        report="A5: `Out of memory at batch_size_per_gpu 1, the floor: a smaller model or more memory is needed.`",
        requirements=("T1", "A5"),
    ),
    Fault(
        id="memory-library-abort",
        title="A numeric library ends the process when an allocation fails.",
        injected="OpenBLAS under an address-space limit prints a line and exits with code 1, without a Python "
        "exception.",
        loop="That line is recognised as out of memory; the batch is halved.",
        report=DEGRADED,
        requirements=("T1",),
    ),
    Fault(
        id="kernel-oom-kill",
        title="The kernel's OOM killer ends the worker.",
        injected="The process joins its own memory cgroup (version 1 or 2) and uses more than its limit; in a second "
        "test the "
        "same process in the same cgroup gets SIGKILL from another process.",
        loop="The kernel's kill counts as out of memory and halves the batch (T1); the other SIGKILL is `killed` and "
        "changes "
        "nothing (T6). The OOM counter of the worker's own cgroup distinguishes them.",
        report=f"{DEGRADED} after the kernel's kill only.",
        requirements=("T1", "T6", "H8", "A5"),
    ),
    Fault(
        id="kernel-oom-kill-rank",
        title="The kernel's OOM killer ends one of two ranks.",
        injected="Rank 1 of a real gloo training joins its own memory cgroup and uses more than its limit.",
        loop="The rank's own cgroup distinguishes it from other exits with code -9 in torchrun's summary; the batch "
        "is halved.",
        report="A5: `T1: out_of_memory: … rank 1 was ended by SIGKILL`.",
        requirements=("T1", "H9", "L2"),
        slow=True,
    ),
    Fault(
        id="memory-inference",
        title="Inference runs out of memory.",
        injected="The inference process has an address-space limit that is enough for two clips, but not for four.",
        loop="The same attempt is repeated with half the clips at once until it fits; dynamics is not retrained.",
        report="A5: `Inference attempt 1: it ran out of memory and is run again with batch_size 4 → 2.`",
        requirements=("L6", "H9", "G1"),
    ),
    Fault(
        id="memory-inference-floor",
        title="Inference runs out of memory with a single clip.",
        injected="The same with a limit that is too low for one clip.",
        loop="No verdict, no retraining: the run stops and can be resumed on a machine with more memory.",
        report="Terminal: `Inference ran out of memory with a single clip at a time … go on with --resume-run`; A5 "
        "lists each try.",
        requirements=("L6", "L8"),
    ),
)
