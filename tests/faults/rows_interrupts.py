"""Faults: hangs, signals and interrupts."""

from __future__ import annotations

from tests.faults.fault import Fault

INTERRUPTED = "A1 and A5: `The run was interrupted before its end; nothing is claimed.`, with the signal's name"
SINCE = "the updates since the last checkpoint; --resume-run trains them again"

WATCHDOG = "The watchdog sees no step: the worker writes its stacks to the log and is ended, a runtime failure (T1)."
TIMEOUT = "A5: `T1: timeout: … it made no step for 5 s after step 5`"
SPAN = "the updates of that chunk; they are trained again"

ROWS: tuple[Fault, ...] = (
    Fault(
        id="stop-worker",
        title="The only worker of a stage is stopped (SIGSTOP).",
        injected="The stage's process sends itself SIGSTOP between two updates.",
        loop=f"{WATCHDOG} It is continued to write its stack, and then ended by SIGTERM.",
        report=f"{TIMEOUT} … `is stopped (SIGSTOP)`; A6: its stack.",
        lost=SPAN,
        requirements=("T1", "L2"),
    ),
    Fault(
        id="stop-rank",
        title="One of two ranks is stopped (SIGSTOP), and the other waits for it in a collective.",
        injected="Two gloo ranks under torchrun train for real; rank 0, or rank 1, sends itself SIGSTOP.",
        loop=f"{WATCHDOG} Both ranks write their stacks; launcher and ranks are ended.",
        report=f"{TIMEOUT} … `rank 1 (PID …) is stopped (SIGSTOP)`.",
        lost=SPAN,
        requirements=("T1", "L2", "H5"),
        slow=True,
    ),
    Fault(
        id="endless-loop",
        title="A worker runs into an endless loop.",
        injected="`while True: pass` in the stage's process between two updates.",
        loop=WATCHDOG,
        report=f"{TIMEOUT}; A6: the stack with the line of the loop.",
        lost=SPAN,
        requirements=("T1", "L2"),
    ),
    Fault(
        id="deaf-worker",
        title="A worker hangs and ignores SIGTERM.",
        injected="The stage's process ignores SIGTERM and sleeps.",
        loop=f"{WATCHDOG} After a grace period of 5 s it gets SIGKILL.",
        report=f"{TIMEOUT}; A1: `SIGKILL`, `ended`.",
        lost=SPAN,
        requirements=("T1", "L2"),
    ),
    Fault(
        id="hang-before-first-step",
        title="A worker hangs at its start, in a process group that never forms.",
        injected="The stage's process sleeps before its first heartbeat.",
        loop=f"{WATCHDOG} It has no signal handler yet, so SIGABRT makes it write its stack, without a core file.",
        report=f"{TIMEOUT} … `and never finished a first one`; A6: its stack.",
        lost=SPAN,
        requirements=("T1", "L2"),
    ),
    Fault(
        id="chunk-deadline",
        title="A chunk makes steps, but does not finish.",
        injected="Updates take 2 s, and the deadline is 6 s.",
        loop="The chunk is ended at its deadline (chunk_deadline_s), which counts as a runtime failure.",
        report="A5: `T1: timeout: … it ran longer than its deadline of 6 s`.",
        lost=SPAN,
        requirements=("T1", "L2"),
    ),
    Fault(
        id="inference-deadline",
        title="Inference hangs.",
        injected="The inference process sleeps past inference_deadline_s.",
        loop="The process is ended, and the attempt fails at G1.",
        report="A1: the process under `Processes that were ended`; G1 FAIL.",
        requirements=("G1", "L6"),
    ),
    Fault(
        id="stopped-harness",
        title="The harness is stopped for a while (Ctrl-Z, a paused virtual machine), with or without its worker.",
        injected="SIGSTOP for 15 s, with a watchdog of 6 s and a chunk deadline of 12 s; then SIGCONT.",
        loop="A pause of the harness is not treated as a hang: no process is ended, and both chunks count.",
        report="Nothing: the stage passes.",
        requirements=("T1",),
        slow=True,
    ),
    Fault(
        id="pytest-timeout",
        title="pytest-timeout fires while a smoke run trains.",
        injected="SIGALRM to the session, as pytest-timeout's timer sends it.",
        loop="The workers are ended, the test fails, and no later test trains the stage again; exit status 1.",
        report="A1 and A5: `FAIL: video_tokenizer: broken off: Timeout (>3600.0s) from pytest-timeout.`",
        lost=SINCE,
        requirements=("L2", "A1"),
    ),
    Fault(
        id="slower-than-the-nets",
        title="A healthy long run takes longer than the timeouts of pytest.",
        injected="A long run whose preparation takes 3 s, with `timeout=1` and `faulthandler_timeout=1`.",
        loop="Long runs ignore these timeouts, because their children have their own watchdogs. Nothing is ended.",
        report="Nothing; no stack dump on the terminal.",
        requirements=("H1",),
    ),
    Fault(
        id="ctrl-c",
        title="Ctrl-C while two workers train.",
        injected="SIGINT to the pytest process; launcher and workers are in their own sessions.",
        loop="Launcher and workers are ended and recorded, the reports are written, the lock is released; exit status "
        "2.",
        report=f"{INTERRUPTED}; A1 lists every process that was ended.",
        lost=SINCE,
        requirements=("L2", "A1", "A5", "H5"),
    ),
    Fault(
        id="ctrl-c-again",
        title="Ctrl-C is pressed several times while the machine shuts down.",
        injected="SIGINT, SIGINT, SIGTERM, SIGHUP, SIGINT, 0.1 s apart.",
        loop="The first signal ends the run. The others are recorded and do not disturb its orderly end. Exit status "
        "2.",
        report=f"{INTERRUPTED}.",
        lost=SINCE,
        requirements=("A1", "A5"),
    ),
    Fault(
        id="sigterm",
        title="A scheduler ends the run.",
        injected="SIGTERM to the pytest process while a stage trains.",
        loop="Like Ctrl-C.",
        report=f"{INTERRUPTED}.",
        lost=SINCE,
        requirements=("A1", "A5"),
    ),
    Fault(
        id="sighup",
        title="The terminal is closed, or the connection is lost.",
        injected="The other end of the pseudo-terminal that the session runs on is closed.",
        loop="Like Ctrl-C; the reports are written although nothing can be printed.",
        report=f"{INTERRUPTED}.",
        lost=SINCE,
        requirements=("A1", "A5"),
    ),
    Fault(
        id="signal-before-training",
        title="The run gets a signal during its preparation, when it has no child process.",
        injected="SIGTERM to the session as soon as the journal has `stale_processes`.",
        loop="Like Ctrl-C; nothing was trained.",
        report=f"{INTERRUPTED}.",
        requirements=("A1", "A5"),
    ),
    Fault(
        id="ctrl-c-during-reports",
        title="Ctrl-C while the verdict and the reports are written.",
        injected="SIGINT to the session as soon as the journal has the first `requirement`.",
        loop="The reports are finished, and then written again with a note about the interrupt. Exit status 2.",
        report="`The run was interrupted while its reports were written. Before that it said: …`",
        requirements=("A1", "A5"),
    ),
    Fault(
        id="sigkill-harness",
        title="The harness is killed (SIGKILL, the OOM killer) while two workers train.",
        injected="SIGKILL to the pytest process.",
        loop="The watchdog process of the launch (tether) ends its processes; the next run takes over the lock.",
        report="The chunk's log: `the harness (PID …) died while this ran; ended: PID …`; the rest with --resume-run.",
        lost=SINCE,
        requirements=("L1", "L2", "H5"),
    ),
    Fault(
        id="sigkill-harness-and-tether",
        title="Harness and watchdog process (tether) are killed, and a worker stays.",
        injected="SIGKILL to both. The worker is stopped before: it would end at its next line of output, which nobody "
        "reads any more.",
        loop="The next run on the project finds the workers and ends them before anything else (L1).",
        report="A1 of the next run lists them under `Processes that were ended`.",
        lost=SINCE,
        requirements=("L1",),
    ),
)
