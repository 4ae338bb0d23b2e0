"""Faults: extra launchers, a second harness, and processes that must not be ended."""

from __future__ import annotations

from tests.faults.fault import Fault

ENDED = "A1 lists it under `Processes that were ended`: PID, age, command line without secrets, signal, outcome"

ROWS: tuple[Fault, ...] = (
    Fault(
        id="launcher-before",
        title="Somebody's training of this project runs when the harness starts.",
        injected="A real Python process runs a stage script in the project, with a secret on its command line.",
        loop="It is ended with SIGTERM before anything else happens (L1).",
        report=f"{ENDED}; A5: `1 left-over or extra training process(es) were ended.`",
        requirements=("L1",),
    ),
    Fault(
        id="launcher-ignores-sigterm",
        title="A stale training process ignores SIGTERM.",
        injected="The stage process ignores SIGTERM.",
        loop="After 5 s its identity is checked again, and it gets SIGKILL.",
        report=f"{ENDED} (SIGKILL, ended).",
        requirements=("L1",),
    ),
    Fault(
        id="orphaned-worker",
        title="A launcher has died and left workers in their own sessions.",
        injected="A launcher with the environment markers of a run starts a worker in its own session and gets "
        "SIGKILL.",
        loop="The worker is found by its inherited marker and ended (L1).",
        report=f"{ENDED}.",
        requirements=("L1",),
    ),
    Fault(
        id="launcher-between-chunks",
        title="Somebody starts training of this project between two chunks.",
        injected="A real stage process starts right after the gate of the first chunk.",
        loop="It is ended before the second chunk's launcher starts (L2); both chunks count.",
        report=f"{ENDED}; A6, under the second chunk: `Extra stage processes that were ended: 1.`",
        requirements=("L2", "H5"),
    ),
    Fault(
        id="launcher-during-chunk",
        title="Somebody starts training of this project while a chunk trains.",
        injected="A real stage process starts after the chunk's first step.",
        loop="It is ended within one monitor interval (L2); the chunk is unaffected and counts.",
        report=f"{ENDED}; A6, under the chunk: `Extra stage processes that were ended: 1.`",
        requirements=("L2", "H5"),
    ),
    Fault(
        id="launcher-during-inference",
        title="Somebody starts training of this project while inference runs.",
        injected="A real stage process starts while the inference process runs.",
        loop="It is ended within one monitor interval (L2); inference continues.",
        report=f"{ENDED}.",
        requirements=("L2", "L6"),
    ),
    Fault(
        id="second-harness",
        title="A second person starts the gate on the same project.",
        injected="A second `pytest validation/` in the project while the first one trains.",
        loop="The second run refuses at once and trains nothing. The first one continues; none of its processes is "
        "ended.",
        report="The second run's terminal: `Another run of the project … is active, by PID … on …, started …`.",
        requirements=("L2", "H5"),
    ),
    Fault(
        id="stale-lock",
        title="A killed run has left its lock file behind.",
        injected="A process that holds the project's lock gets SIGKILL; in a second test its forked child is still "
        "alive.",
        loop="The kernel has released the lock; the next run takes it over.",
        report="The terminal: `took over the lock of a run that died: PID … on …, started …`.",
        requirements=("L2", "H5"),
    ),
    Fault(
        id="garbage-lock",
        title="The lock file contains garbage, or is removed while it is taken.",
        injected="Bytes, JSON of other shapes, 60,000 brackets, an impossible time; an unlink between open and flock.",
        loop="Only the kernel's lock counts; the content of the file is overwritten.",
        report="Nothing: the run starts. A run that is refused meanwhile gets the advice to try again.",
        requirements=("L2", "H5"),
    ),
    Fault(
        id="bystanders",
        title="Editors, pagers and searches have a stage script open.",
        injected="tail, grep, a shell, `python -c`, an editor written in Python, and vim where it is installed.",
        loop="None is treated as training: what a process runs decides, not its arguments.",
        report="`no stale training process was found`.",
        requirements=("L1",),
    ),
    Fault(
        id="disguised-training",
        title="Training of this project was started in a way that its command line does not show.",
        injected="35 real processes at once: `python -c`, standard input, notebooks, profilers, hard links, "
        "renamed interpreters, forks, spawned workers, pools, archives, shells.",
        loop="All are found, by the program, the code or the Python stack that they run, and ended. Where another "
        "process's memory cannot be read, those whose command line shows nothing are missed.",
        report=f"{ENDED}.",
        requirements=("L1", "L2"),
    ),
    Fault(
        id="marked-bystanders",
        title="Programs that a person started from within a run inherited its marker.",
        injected="16 real processes with the variables of a run: pagers, shells, a person's terminal, editors, tmux, "
        "tensorboard, an idle notebook, an evaluation; and what a launch itself starts in other sessions.",
        loop="What they run and whose session they are in decides: none is ended. Helpers of the launch are.",
        report="`no stale training process was found`.",
        requirements=("L1", "L2", "H5"),
    ),
    Fault(
        id="other-clone",
        title="Another clone of the project trains on the same machine.",
        injected="Its stages run as scripts, as modules of the same names, and through a link to its folder.",
        loop="Clones are independent: nothing is ended.",
        report="`no stale training process was found`.",
        requirements=("L1", "L2"),
    ),
    Fault(
        id="other-user",
        title="Another user trains the same project.",
        injected="A stage process of another user (needs root).",
        loop="It is not ended.",
        report="`no stale training process was found`.",
        requirements=("L1",),
    ),
    Fault(
        id="own-ancestor",
        title="A stage of the project started the harness.",
        injected="A stage script starts a process that looks for stale training.",
        loop="A run never ends its own ancestors.",
        report="`no stale training process was found`.",
        requirements=("L1",),
    ),
    Fault(
        id="pid-reuse",
        title="A stale process ends by itself, and a bystander gets its PID before the signal is sent.",
        injected="The test sets the kernel's next PID (ns_last_pid, needs root); without root it alters the start "
        "time.",
        loop="The start time of the process is compared right before the signal, so the bystander gets none.",
        report="The record says `already gone`, and no signal.",
        requirements=("L1", "L2"),
    ),
    Fault(
        id="zombie",
        title="A training process has ended, but its parent has not reaped it.",
        injected="A stage process exits and is not waited for.",
        loop="A zombie does not count as training: nothing is ended, and nothing waits for it.",
        report="`no stale training process was found`.",
        requirements=("L1",),
    ),
)
