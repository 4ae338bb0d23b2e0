"""Rows of the fault matrix: environment."""

from __future__ import annotations

from tests.faults.fault import Fault

PLACE = (
    'One whole loop runs in all of this at once: a folder called `it\'s 100% "our" $HOME [run] #1: & done`, no HOME, '
)
PASSED = "A1: `Verdict: PASS`, as anywhere."
NOTHING_CHANGES = "Nothing changes: deadlines, watchdog, rates and freshness count on clocks that nobody sets."

ROWS: tuple[Fault, ...] = (
    Fault(
        id="clock-forward",
        title="The clock is set an hour forward in the middle of a chunk.",
        injected="A library before the C library's adds 3600 s to the time of harness and stage, from one update on.",
        loop=NOTHING_CHANGES,
        report="Both chunks in order, with their true durations and rates.",
        requirements=("L3", "M1", "M3", "S4"),
    ),
    Fault(
        id="clock-backward",
        title="The clock is set an hour back in the middle of a chunk.",
        injected="The same with -3600 s.",
        loop=NOTHING_CHANGES,
        report="A1's timeline keeps the order of the journal, and shows a dash where the time since the start is not "
        "known.",
        requirements=("L3", "M1", "M3", "S4"),
    ),
    Fault(
        id="clock-step-loop",
        title="The clock is set twice while a whole loop trains.",
        injected="An hour forward while the tokenizer trains, two hours back while dynamics does.",
        loop="Passes; weights and measures are bit-identical to a loop whose clock nobody set.",
        report=PASSED,
        requirements=("H7", "G4"),
        slow=True,
    ),
    Fault(
        id="config-edited",
        title="A settings file is edited between two chunks.",
        injected="While the first chunk trains, a key is added to the stage's file in configs/.",
        loop="The next chunk reads the run's own copy in results/<run>/configs, so no value changes; the edit is told.",
        report="A5: `configs/video_tokenizer.yaml was changed during the run; this run goes on with the values that it "
        "was started with`.",
        requirements=("P1", "A5"),
    ),
    Fault(
        id="config-edited-loop",
        title="Settings files are edited while a whole loop trains.",
        injected="The profile's dynamics.yaml and inference.yaml get other values while the tokenizer trains.",
        loop="Passes; weights and measures are bit-identical to a loop that nobody disturbed.",
        report="On the terminal and in A5: both files `were changed during the run`.",
        requirements=("P1", "A5"),
        slow=True,
    ),
    Fault(
        id="dataset-deleted",
        title="The frames file is deleted between two chunks.",
        injected="While the first chunk trains, the file is removed.",
        loop="The run stops before the next chunk; no batch is halved for it. With the file back it goes on.",
        report="Terminal and A1: `The frames file … is gone … go on with --resume-run`.",
        requirements=("S4", "H7"),
    ),
    Fault(
        id="dataset-changed",
        title="The frames file is replaced between two chunks.",
        injected="While the first chunk trains, other content is written over it.",
        loop="The run stops before the next chunk, since two datasets would be mixed.",
        report="Terminal and A1: `The frames file … was changed during the run`, with both SHA-256.",
        requirements=("S4", "H7"),
    ),
    Fault(
        id="dataset-deleted-loop",
        title="The frames file is moved away while a whole loop trains, and back.",
        injected="It is renamed while the tokenizer trains; after the run has stopped it is put back.",
        loop="Stops with exit status 1 after the chunk; `--resume-run` passes, bit-identical to a loop that nobody "
        "disturbed.",
        report="A1: `The frames file data/bars_frames.h5 is gone`.",
        requirements=("H7", "L5", "A1"),
        slow=True,
    ),
    Fault(
        id="project-path",
        title="The project's folder has blanks, quotes, a percent sign, a dollar, brackets and a hash in its name.",
        injected=f"{PLACE}no terminal, no temporary folder, an ASCII locale.",
        loop="Passes: every path arrives in the stages, in git and in the page as it is written.",
        report=PASSED,
        requirements=("H3", "L4", "A8"),
    ),
    Fault(
        id="no-home",
        title="HOME is not set, nor USER.",
        injected="The same loop: the environment holds no such variable.",
        loop="Passes, and leaves no cache folder in the project.",
        report=PASSED,
        requirements=("H3",),
    ),
    Fault(
        id="no-terminal",
        title="There is no terminal and no input.",
        injected="The same loop: its standard input is closed, its output is a pipe.",
        loop="Passes; plain lines without control sequences.",
        report=PASSED,
        requirements=("H3",),
    ),
    Fault(
        id="ascii-terminal",
        title="The locale knows ASCII only.",
        injected="The same loop: LC_ALL=C with Python's UTF-8 mode switched off.",
        loop="Passes; the terminal gets ASCII, files are UTF-8.",
        report=PASSED,
        requirements=("H3", "A1"),
    ),
    Fault(
        id="no-temporary-folder",
        title="TMPDIR names a folder that does not exist.",
        injected="The same loop: TMPDIR is such a path.",
        loop="Passes, and does not make it.",
        report=PASSED,
        requirements=("H3",),
    ),
    Fault(
        id="tiny-terminal",
        title="The terminal has twelve columns and three lines.",
        injected="A whole loop on a pseudo-terminal of that size.",
        loop="Passes; progress bars and summary find room.",
        report=PASSED,
        requirements=("H3",),
        slow=True,
    ),
    Fault(
        id="unwritable-home",
        title="HOME takes no files.",
        injected="The same loop with HOME=/proc, where not even root can write.",
        loop="Passes.",
        report=PASSED,
        requirements=("H3",),
        slow=True,
    ),
    Fault(
        id="reader-leaves",
        title="Whoever reads the output leaves.",
        injected="The pipe that the session writes to is closed after the run's first words.",
        loop="Goes on to its end in silence; exit status and reports are as ever.",
        report="All reports are written.",
        requirements=("L10",),
    ),
    Fault(
        id="git-missing",
        title="The machine has no git.",
        injected="PATH names a folder without it.",
        loop="The audit is INVALID, so the exit status is not 0; nothing else is affected.",
        report="A1: `The git program was not found, so the history cannot be read. Install git and run again.`",
        requirements=("L4",),
    ),
    Fault(
        id="latin-1-words",
        title="A stale training has words of another character set on its command line.",
        injected="A real stage process of the project with bytes on its command line that are no UTF-8.",
        loop="Ended and recorded like any other.",
        report="A1 shows its command line with escapes.",
        requirements=("L1", "A1"),
    ),
)
