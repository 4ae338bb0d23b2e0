"""Rows of the fault matrix: disk."""

from __future__ import annotations

from tests.faults.fault import Fault

TWICE = "Once on a real small disk (tmpfs, needs root), once by a file-size limit on the process (needs nothing)."
GOES_ON = "When the disk is free again, the run goes on where its journal stops, and passes."

ROWS: tuple[Fault, ...] = (
    Fault(
        id="disk-full-checkpoint",
        title="The disk is full when a checkpoint is due.",
        injected=f"A stage that really trains; after update 14 there is no room for another checkpoint. {TWICE}",
        loop=f"Nothing half-written appears, nothing is retuned, the run stops; earlier checkpoints stay. {GOES_ON}",
        report="A6: the chunk `stopped on a full disk`; the terminal: `The disk is full: free some space, then go on "
        "with --resume-run …`.",
        lost="the updates since the last checkpoint; --resume-run trains them again",
        requirements=("S4",),
    ),
    Fault(
        id="disk-full-log",
        title="The disk takes not one byte more: log, heartbeats and history of a stage cannot be written.",
        injected=f"In the middle of a chunk. {TWICE}",
        loop=f"A stage that cannot even say why is known by a try to write where it wrote. The run stops. {GOES_ON}",
        report="The terminal: what could not be written, and `free some space`.",
        lost="the updates since the last checkpoint; --resume-run trains them again",
        requirements=("S4", "M1"),
    ),
    Fault(
        id="disk-full-journal",
        title="The journal, or the evidence beside it, cannot be written.",
        injected=f"Between the gate of the first chunk and the launch of the second. {TWICE}",
        loop=f"A half-written line is removed again, the children are ended, the run stops. {GOES_ON}",
        report="The terminal: `Cannot write the journal …`, or the file of evidence, and `free`.",
        requirements=("S4",),
    ),
    Fault(
        id="disk-full-inference",
        title="The disk is full when inference writes its measures.",
        injected=f"The inference process writes 1 MiB. {TWICE}",
        loop="The run stops without a verdict on the model: nothing was measured, and nothing is claimed.",
        report="The terminal: `The inference run stopped: …` with the system's words, or `Cannot write the journal`.",
        requirements=("L6", "G1"),
    ),
    Fault(
        id="disk-full-reports",
        title="The disk is full when the reports and the page are written.",
        injected=f"After the run was prepared: docs/action/ full, or no file may grow past 64 bytes. {TWICE}",
        loop="The verdict stands on the terminal and in the exit status, which is never 0 then. "
        "`tinyworlds-gate report` writes the reports once there is room.",
        report="The terminal: `the record of this run is not complete: Cannot write …`, and how to go on.",
        requirements=("L10", "H4"),
    ),
    Fault(
        id="no-inodes",
        title="The disk has room and no inodes.",
        injected="A tmpfs with too few of them (needs root): before the run, and used up after update 14.",
        loop=f"Told before anything trains; during a run it counts as a full disk. {GOES_ON}",
        report="The terminal: `… No space left on device. … free …`; A6: the chunk `stopped on a full disk`.",
        lost="the updates since the last checkpoint; --resume-run trains them again",
        requirements=("L10", "S4"),
    ),
    Fault(
        id="read-only-output",
        title="results/, Logs/, docs/action/ or inference_results/ takes no data.",
        injected="A read-only mount for root, permissions for everybody else.",
        loop="Every output folder is tried by writing before anything trains.",
        report="The terminal: `The output folder … is not writable: Read-only file system. …`",
        requirements=("L10",),
    ),
)
