"""Faults of the disk."""

from __future__ import annotations

from tests.faults.fault import Fault

TWICE = "One test uses a small real disk (tmpfs, needs root), another a file-size limit on the process."
GOES_ON = "When the disk is free again, the run is resumed where its journal ends, and passes."

ROWS: tuple[Fault, ...] = (
    Fault(
        id="disk-full-checkpoint",
        title="The disk is full when a checkpoint is due.",
        injected=f"A stage trains for real; after update 14 there is no space for another checkpoint. {TWICE}",
        loop=f"No partial file appears, no parameter changes, and the run stops; earlier checkpoints stay. {GOES_ON}",
        report="A6: the chunk `stopped on a full disk`; the terminal: `The disk is full: free some space, then go on "
        "with --resume-run …`.",
        lost="the updates since the last checkpoint; --resume-run trains them again",
        requirements=("S4",),
    ),
    Fault(
        id="disk-full-log",
        title="The disk is completely full: a stage cannot write its log, heartbeats and history.",
        injected=f"In the middle of a chunk. {TWICE}",
        loop="The harness tries to write in the same place, in case the stage could not log the cause. The run "
        f"stops. {GOES_ON}",
        report="The terminal: the file that could not be written, and `free some space`.",
        lost="the updates since the last checkpoint; --resume-run trains them again",
        requirements=("S4", "M1"),
    ),
    Fault(
        id="disk-full-journal",
        title="The journal, or the evidence beside it, cannot be written.",
        injected=f"Between the gate of the first chunk and the launch of the second. {TWICE}",
        loop=f"A partial line is removed, the children are ended, and the run stops. {GOES_ON}",
        report="The terminal: `Cannot write the journal …`, or the evidence file, and `free`.",
        requirements=("S4",),
    ),
    Fault(
        id="disk-full-inference",
        title="The disk is full when inference writes its measures.",
        injected=f"The inference process writes 1 MiB. {TWICE}",
        loop="The run stops without a verdict on the model, because nothing was measured.",
        report="The terminal: `The inference run stopped: …` with the system's error, or `Cannot write the journal`.",
        requirements=("L6", "G1"),
    ),
    Fault(
        id="disk-full-reports",
        title="The disk is full when the reports and the HTML page are written.",
        injected=f"After the run was prepared, docs/action/ is full, or no file may exceed 64 bytes. {TWICE}",
        loop="The terminal shows the verdict, and the exit status is not 0. `tinyworlds-gate report` writes the "
        "reports once "
        "there is space.",
        report="The terminal: `the record of this run is not complete: Cannot write …`, and how to go on.",
        requirements=("L10", "H4"),
    ),
    Fault(
        id="no-inodes",
        title="The disk has free space, but no free inodes.",
        injected="A tmpfs with too few inodes (needs root): one test starts without any, another uses them up after "
        "update 14.",
        loop=f"It is reported before anything trains; during a run it counts as a full disk. {GOES_ON}",
        report="The terminal: `… No space left on device. … free …`; A6: the chunk `stopped on a full disk`.",
        lost="the updates since the last checkpoint; --resume-run trains them again",
        requirements=("L10", "S4"),
    ),
    Fault(
        id="read-only-output",
        title="results/, Logs/, docs/action/ or inference_results/ is not writable.",
        injected="A read-only mount when the test runs as root, permissions otherwise.",
        loop="Before anything trains, the harness writes a test file into every output folder.",
        report="The terminal: `The output folder … is not writable: Read-only file system. …`",
        requirements=("L10",),
    ),
    Fault(
        id="data-write-error",
        title="One write of a frames file fails, or the disk stores other bytes.",
        injected="One after the other, each `pwrite` of a frames file, of generated frames and of frame codes fails "
        "with EIO or ENOSPC, or is short; in a second test it stores zeros.",
        loop="The file does not get its name and no partial file stays. A short write is continued, and the file has "
        "the same bytes as without the fault.",
        report="The terminal: the file, and the error of the system.",
        requirements=("S4",),
    ),
)
