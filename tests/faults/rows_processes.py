"""Faults of training processes: they die, fail, or write too little."""

from __future__ import annotations

from tests.faults.fault import Fault

RANKS = "Two gloo workers train under torchrun:"
GOES_ON = "is resumed from the checkpoint of update 11"
SAME_WEIGHTS = (
    f"Cause `killed` (T6): the chunk keeps its parameters and {GOES_ON}. Its final weights are bit-identical to those "
    "of an uninterrupted run."
)
HALVED = f"Cause `runtime_error` (T1): the batch is halved, and the stage {GOES_ON}."
KILLED_REPORT = (
    "A6: the chunk `was killed from outside the harness`. A5: `T6: killed: …` with the worker, its signal and the "
    "effect."
)
UPDATES_SINCE = "the updates since the last checkpoint; they are trained again"

ROWS: tuple[Fault, ...] = (
    Fault(
        id="kill-launcher",
        title="The launcher is killed; its workers keep running in their own sessions.",
        injected=f"{RANKS} `kill` sends SIGKILL to torchrun.",
        loop=f"The workers are found by their identity and ended, and each end is recorded. {SAME_WEIGHTS}",
        report="A6: the chunk `was killed from outside the harness`; A5: `T6: killed: it was ended by SIGKILL`; A1: "
        "each worker "
        "that was ended, with its signal.",
        lost=UPDATES_SINCE,
        slow=True,
        requirements=("T6", "L2", "H5"),
    ),
    Fault(
        id="terminate-launcher",
        title="Somebody sends SIGTERM to the launcher.",
        injected=f"{RANKS} `kill` sends SIGTERM to torchrun.",
        loop=SAME_WEIGHTS,
        report="A6: the chunk `was killed from outside the harness`; A5: `T6: killed: … the launcher was signalled`.",
        lost=UPDATES_SINCE,
        slow=True,
        requirements=("T6", "H5"),
    ),
    Fault(
        id="kill-rank-0",
        title="Rank 0 is killed.",
        injected=f"{RANKS} `kill` sends SIGKILL to rank 0.",
        loop=SAME_WEIGHTS,
        report=KILLED_REPORT,
        lost=UPDATES_SINCE,
        slow=True,
        requirements=("T6", "S4", "H7"),
    ),
    Fault(
        id="kill-rank-1",
        title="Rank 1 is killed.",
        injected=f"{RANKS} `kill` sends SIGKILL to rank 1.",
        loop=SAME_WEIGHTS,
        report=KILLED_REPORT,
        lost=UPDATES_SINCE,
        slow=True,
        requirements=("T6", "S4", "H7"),
    ),
    Fault(
        id="terminate-rank-1",
        title="Somebody sends SIGTERM to a worker.",
        injected=f"{RANKS} `kill` sends SIGTERM to rank 1.",
        loop=SAME_WEIGHTS,
        report=KILLED_REPORT,
        lost=UPDATES_SINCE,
        slow=True,
        requirements=("T6", "S4", "H7"),
    ),
    Fault(
        id="exception-in-rank",
        title="One worker raises an exception; the other loses its peer.",
        injected=f"{RANKS} rank 1 raises ValueError between two updates.",
        loop=HALVED,
        report="A6: the chunk `stopped with an error`, with its last lines; A5: `T1: runtime_error: … rank 1 raised "
        "ValueError: …`, the rank that failed first, not its peer.",
        lost=UPDATES_SINCE,
        requirements=("T1", "H9"),
        slow=True,
    ),
    Fault(
        id="segfault-in-rank",
        title="A worker crashes with a segmentation fault.",
        injected=f"{RANKS} rank 1 reads address 0.",
        loop=f"A crash does not count as `killed`. {HALVED}",
        report="A6: the chunk `stopped with an error`, with the stack; A5: `T1: … rank 1 was ended by SIGSEGV`.",
        lost=UPDATES_SINCE,
        requirements=("T1", "H9"),
        slow=True,
    ),
    Fault(
        id="rank-exits-0-early",
        title="A worker exits with code 0 in the middle of training; the other is in a collective.",
        injected=f"{RANKS} rank 1 calls `os._exit(0)`.",
        loop=f"The other worker loses its peer and fails. {HALVED}",
        report="A6: the chunk `stopped with an error`; A5: `T1: … rank 1 left with exit code 0 before its peers`.",
        lost=UPDATES_SINCE,
        requirements=("T1", "S4"),
        slow=True,
    ),
    Fault(
        id="rank-exits-0-other-waits",
        title="A worker exits with code 0; the other waits for it forever.",
        injected=f"{RANKS} rank 1 calls `os._exit(0)`, rank 0 waits for a file that never appears.",
        loop="The watchdog ends the chunk after its time without a step, with the stacks in the log. Cause `timeout` "
        f"(T1): the batch is halved, and the stage {GOES_ON}.",
        report="A6: the chunk `ran too long and was ended`, with the stack of rank 0; A5: `T1: timeout: it was stopped "
        "by the harness … it made no step for … rank 1 left with exit code 0 before its peers`.",
        lost=UPDATES_SINCE,
        requirements=("T1", "S4"),
        slow=True,
    ),
    Fault(
        id="nan-loss",
        title="The loss becomes NaN.",
        injected=f"{RANKS} a weight of rank 1 is set to NaN between two updates.",
        loop="The stage stops and saves no later checkpoint. This is divergence: the learning rate is halved (T2), "
        "the batch "
        f"stays, and the stage {GOES_ON}.",
        report="A6, under the chunk: `Missing or wrong: the loss of update 15 is nan`; A5: T2 with this cause and "
        "`it was on rank 1 alone`.",
        lost=UPDATES_SINCE,
        requirements=("S4", "T2"),
        slow=True,
    ),
    Fault(
        id="nan-weights-at-save",
        title="The last step makes the weights NaN; every loss is finite, and the stage exits with 0.",
        injected=f"{RANKS} a weight of rank 0 is set to NaN after the last optimizer step, before the save.",
        loop="The checkpoint is refused when it is read (S4). This is divergence: the learning rate is halved (T2), "
        "the batch "
        f"stays, and the stage {GOES_ON}. The NaN checkpoint is renamed.",
        report="A6, under the chunk: `Missing or wrong: … values that are not finite`; A5: T2 with this cause.",
        lost=UPDATES_SINCE,
        requirements=("S4", "T2"),
        slow=True,
    ),
    Fault(
        id="exit-0-without-checkpoint",
        title="A stage exits normally without a checkpoint.",
        injected="The stage's process exits with code 0 in its second chunk and saves no checkpoint.",
        loop="The chunk does not count (S4). The batch is halved (T1), and the same updates are trained again from the "
        "previous checkpoint.",
        report="A6, under the chunk: `Missing or wrong: no checkpoint … was written`; A5: the retune with this cause.",
        lost="the updates of that chunk; they are trained again",
        requirements=("S4", "T1", "M2"),
    ),
    Fault(
        id="exit-0-stale-png",
        title="A stage exits normally and leaves only the picture of an earlier chunk.",
        injected="The stage's process exits with code 0 in its second chunk and writes nothing.",
        loop="The chunk does not count, because an old picture is not evidence (M3). The batch is halved (T1), and "
        "the same "
        "updates are trained again.",
        report="A6, under the chunk: `Missing or wrong:` history, checkpoint and picture; M1, M2 and M3 INVALID.",
        lost="the updates of that chunk; they are trained again",
        requirements=("S4", "M1", "M2", "M3"),
    ),
)
