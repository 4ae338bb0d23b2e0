"""Rows of the fault matrix: processes that die, fail, or leave too little."""

from __future__ import annotations

from tests.faults.fault import Fault

RANKS = "Two gloo workers train under torchrun;"
GOES_ON = "goes on from the checkpoint of update 11"
SAME_WEIGHTS = (
    f"Cause `killed` (T6): the chunk is tried again with the same parameters, {GOES_ON}, and the weights at its end "
    "are those of a run that nobody disturbed, to the bit."
)
HALVED = f"Cause `runtime_error` (T1): the batch is halved, and the stage {GOES_ON}."
KILLED_REPORT = (
    "A6: the chunk `was ended from outside`; A5: `T6: killed: …` with the worker and its signal, and that it helped."
)
UPDATES_SINCE = "the updates since the last checkpoint, which are trained again"

ROWS: tuple[Fault, ...] = (
    Fault(
        id="kill-launcher",
        title="The launcher is killed; its workers live on, in sessions of their own.",
        injected=f"{RANKS} SIGKILL to torchrun by `kill`.",
        loop=f"The workers are ended by identity, each end is recorded. {SAME_WEIGHTS}",
        report="A6: the chunk `was ended from outside`; A5: `T6: killed: it was ended by SIGKILL`; A1: each worker "
        "that was ended, with its signal.",
        lost=UPDATES_SINCE,
        requirements=("T6", "L2", "H5"),
    ),
    Fault(
        id="terminate-launcher",
        title="Somebody sends SIGTERM to the launcher.",
        injected=f"{RANKS} SIGTERM to torchrun by `kill`.",
        loop=SAME_WEIGHTS,
        report="A6: the chunk `was ended from outside`; A5: `T6: killed: … the launcher was signalled`.",
        lost=UPDATES_SINCE,
        requirements=("T6", "H5"),
    ),
    Fault(
        id="kill-rank-0",
        title="The first worker is killed.",
        injected=f"{RANKS} SIGKILL to rank 0 by `kill`.",
        loop=SAME_WEIGHTS,
        report=KILLED_REPORT,
        lost=UPDATES_SINCE,
        requirements=("T6", "S4", "H7"),
    ),
    Fault(
        id="kill-rank-1",
        title="Another worker is killed.",
        injected=f"{RANKS} SIGKILL to rank 1 by `kill`.",
        loop=SAME_WEIGHTS,
        report=KILLED_REPORT,
        lost=UPDATES_SINCE,
        requirements=("T6", "S4", "H7"),
    ),
    Fault(
        id="terminate-rank-1",
        title="Somebody sends SIGTERM to a worker.",
        injected=f"{RANKS} SIGTERM to rank 1 by `kill`.",
        loop=SAME_WEIGHTS,
        report=KILLED_REPORT,
        lost=UPDATES_SINCE,
        requirements=("T6", "S4", "H7"),
    ),
    Fault(
        id="exception-in-rank",
        title="An exception in one worker; the other loses its peer.",
        injected=f"{RANKS} rank 1 raises ValueError between two updates.",
        loop=HALVED,
        report="A6: the chunk `stopped with an error`, with its last lines; A5: `T1: runtime_error: … ValueError: …`, "
        "the exception of the worker that failed first, not that of its peer.",
        lost=UPDATES_SINCE,
        requirements=("T1", "H9"),
    ),
    Fault(
        id="segfault-in-rank",
        title="A worker crashes with a segmentation fault.",
        injected=f"{RANKS} rank 1 reads address 0.",
        loop=f"A crash is no kill. {HALVED}",
        report="A6: the chunk `stopped with an error`, with the stack; A5: `T1: … rank 1 was ended by SIGSEGV`.",
        lost=UPDATES_SINCE,
        requirements=("T1", "H9"),
    ),
    Fault(
        id="rank-exits-0-early",
        title="A worker leaves with exit code 0 in the middle; the other is in a collective.",
        injected=f"{RANKS} rank 1 calls `os._exit(0)`.",
        loop=f"The other worker loses its peer and fails. {HALVED}",
        report="A6: the chunk `stopped with an error`; A5: `T1: … Connection closed` (or reset) `by peer`.",
        lost=UPDATES_SINCE,
        requirements=("T1", "S4"),
    ),
    Fault(
        id="rank-exits-0-other-waits",
        title="A worker leaves with exit code 0; the other waits for it and never steps again.",
        injected=f"{RANKS} rank 1 calls `os._exit(0)`, rank 0 waits for a file that nobody writes.",
        loop="The watchdog ends the chunk when no step was made for its time, with the stacks in the log: cause "
        f"`timeout` (T1), the batch is halved, and the stage {GOES_ON}.",
        report="A6: the chunk `ran too long and was ended`, with the stack of rank 0; A5: `T1: timeout: it was stopped "
        "by the harness … it made no step for …`.",
        lost=UPDATES_SINCE,
        requirements=("T1", "S4"),
        slow=True,
    ),
    Fault(
        id="nan-loss",
        title="The loss becomes NaN.",
        injected=f"{RANKS} a weight of rank 1 is set to NaN between two updates.",
        loop="The stage stops itself and saves nothing after it. It diverged: the learning rate is halved (T2), the "
        f"batch stays, and the stage {GOES_ON}.",
        report="A6, under the chunk: `Missing or wrong: the loss of update 15 is nan`; A5: T2 with this cause.",
        lost=UPDATES_SINCE,
        requirements=("S4", "T2"),
    ),
    Fault(
        id="nan-weights-at-save",
        title="The last step makes the weights NaN; every loss is finite, and the stage exits with 0.",
        injected=f"{RANKS} a weight of rank 0 is set to NaN after the last optimizer step, before the save.",
        loop="The checkpoint is refused when it is read (S4). It diverged: the learning rate is halved (T2), the batch "
        f"stays, and the stage {GOES_ON}; the NaN checkpoint is set aside.",
        report="A6, under the chunk: `Missing or wrong: … values that are not finite`; A5: T2 with this cause.",
        lost=UPDATES_SINCE,
        requirements=("S4", "T2"),
    ),
    Fault(
        id="exit-0-without-checkpoint",
        title="A stage returns normally and has written no checkpoint.",
        injected="The stage's process ends with exit code 0 in its second chunk and saves nothing.",
        loop="The chunk does not count (S4); the batch is halved (T1) and the same updates are trained again from the "
        "checkpoint before.",
        report="A6, under the chunk: `Missing or wrong: no checkpoint … was written`; A5: the retune with this cause.",
        lost="the updates of that chunk, which are trained again",
        requirements=("S4", "T1", "M2"),
    ),
    Fault(
        id="exit-0-stale-png",
        title="A stage returns normally; all there is to see is the picture of an earlier chunk.",
        injected="The stage's process ends with exit code 0 in its second chunk and writes nothing.",
        loop="The chunk does not count: a picture from before is no evidence (M3). The batch is halved (T1), and the "
        "same updates are trained again.",
        report="A6, under the chunk: `Missing or wrong:` history, checkpoint and picture; M1, M2 and M3 INVALID.",
        lost="the updates of that chunk, which are trained again",
        requirements=("S4", "M1", "M2", "M3"),
    ),
)
