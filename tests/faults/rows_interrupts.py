"""Rows of the fault matrix: hangs and interrupts."""

from __future__ import annotations

from tests.faults.fault import Fault

INTERRUPTED = "A1 and A5: `The run was interrupted before its end; nothing is claimed.`, with the signal's name"
SINCE = "the updates since the last checkpoint; --resume-run trains them again"

ROWS: tuple[Fault, ...] = (
    Fault(
        id="ctrl-c",
        title="Ctrl-C while two workers train.",
        injected="SIGINT to the pytest process; launcher and workers live in sessions of their own.",
        loop="Launcher and workers are ended and recorded, the reports are written, the lock is free; exit status 2.",
        report=f"{INTERRUPTED}; A1 lists every process that was ended.",
        lost=SINCE,
        requirements=("L2", "A1", "A5", "H5"),
    ),
    Fault(
        id="ctrl-c-again",
        title="An impatient person presses Ctrl-C again and again, and the machine shuts down.",
        injected="SIGINT, SIGINT, SIGTERM, SIGHUP, SIGINT, a tenth of a second apart.",
        loop="The first one ends the run; the others are noted while it winds down in order. Exit status 2.",
        report=f"{INTERRUPTED}.",
        lost=SINCE,
        requirements=("A1", "A5"),
    ),
    Fault(
        id="sigterm",
        title="A scheduler ends the run.",
        injected="SIGTERM to the pytest process while a stage trains.",
        loop="As for Ctrl-C.",
        report=f"{INTERRUPTED}.",
        lost=SINCE,
        requirements=("A1", "A5"),
    ),
    Fault(
        id="sighup",
        title="The terminal is closed, or the connection is lost.",
        injected="The other end of the pseudo-terminal that the session runs on is closed.",
        loop="As for Ctrl-C; that nothing can be printed any more stops no report.",
        report=f"{INTERRUPTED}.",
        lost=SINCE,
        requirements=("A1", "A5"),
    ),
    Fault(
        id="signal-before-training",
        title="The run is ended while it still prepares, with no child alive that could be waited for.",
        injected="SIGTERM to the session at the moment when `stale_processes` stands in the journal.",
        loop="As for Ctrl-C; nothing was trained.",
        report=f"{INTERRUPTED}.",
        requirements=("A1", "A5"),
    ),
    Fault(
        id="ctrl-c-during-reports",
        title="Ctrl-C while the verdict and the reports are being written.",
        injected="SIGINT to the session at the moment when the first `requirement` stands in the journal.",
        loop="The reports are finished first; then they are written again and say so. Exit status 2.",
        report="`The run was interrupted while its reports were written. Before that it said: …`",
        requirements=("A1", "A5"),
    ),
    Fault(
        id="sigkill-harness",
        title="The harness is killed (SIGKILL, the OOM killer) while two workers train.",
        injected="SIGKILL to the pytest process.",
        loop="The tether, a small process beside every launch, ends its processes; the next run takes the lock over.",
        report="The chunk's log: `the harness (PID …) died while this ran; ended: PID …`; the rest on --resume-run.",
        lost=SINCE,
        requirements=("L1", "L2", "H5"),
    ),
    Fault(
        id="sigkill-harness-and-tether",
        title="Harness and tether are killed, and the workers train on.",
        injected="SIGKILL to both.",
        loop="The next run on the project finds the workers and ends them before anything else (L1).",
        report="A1 of the next run lists them under `Processes that were ended`.",
        lost=SINCE,
        requirements=("L1",),
    ),
)
