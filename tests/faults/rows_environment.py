"""Faults of the environment: clock, settings, data, paths, terminal, git."""

from __future__ import annotations

from tests.faults.fault import Fault

PLACE = (
    'One whole loop runs with all of this at once: a folder called `it\'s 100% "our" $HOME [run] #1: & done`, no HOME, '
)
PASSED = "A1: `Verdict: PASS`, as usual."
NOTHING_CHANGES = "Nothing changes: deadlines, watchdog, rates and freshness use monotonic clocks."

ROWS: tuple[Fault, ...] = (
    Fault(
        id="clock-forward",
        title="The system clock jumps forward by an hour during a chunk.",
        injected="A preloaded library adds 3600 s to the time that harness and stage see, from one update on.",
        loop=NOTHING_CHANGES,
        report="Both chunks in order, with their correct durations and rates.",
        requirements=("L3", "M1", "M3", "S4"),
    ),
    Fault(
        id="clock-backward",
        title="The system clock jumps back by an hour during a chunk.",
        injected="The same with -3600 s.",
        loop=NOTHING_CHANGES,
        report="A1's timeline keeps the order of the journal and shows a dash where the time since the start is "
        "unknown.",
        requirements=("L3", "M1", "M3", "S4"),
    ),
    Fault(
        id="clock-step-loop",
        title="The system clock jumps twice during a whole loop.",
        injected="One hour forward while the tokenizer trains, two hours back while dynamics trains.",
        loop="The loop passes; weights and measurements are bit-identical to those of an undisturbed loop.",
        report=PASSED,
        requirements=("H7", "G4"),
        slow=True,
    ),
    Fault(
        id="config-edited",
        title="A settings file is edited between two chunks.",
        injected="While the first chunk trains, a key is added to the stage's file in configs/.",
        loop="The next chunk reads the run's own copy in results/<run>/configs, so no value changes. The edit is "
        "reported.",
        report="A5: `configs/video_tokenizer.yaml was changed during the run; this run goes on with the values that it "
        "was started with`.",
        requirements=("P1", "A5"),
    ),
    Fault(
        id="config-edited-loop",
        title="Settings files are edited during a whole loop.",
        injected="The profile's dynamics.yaml and inference.yaml get other values while the tokenizer trains.",
        loop="The loop passes; weights and measurements are bit-identical to those of an undisturbed loop.",
        report="On the terminal and in A5: both files `were changed during the run`.",
        requirements=("P1", "A5"),
        slow=True,
    ),
    Fault(
        id="dataset-deleted",
        title="The frames file is deleted between two chunks.",
        injected="While the first chunk trains, the file is removed.",
        loop="The run stops before the next chunk, without halving the batch. It can be resumed once the file is back.",
        report="Terminal and A1: `The frames file … is gone … go on with --resume-run`.",
        requirements=("S4", "H7"),
    ),
    Fault(
        id="dataset-changed",
        title="The frames file is replaced between two chunks.",
        injected="While the first chunk trains, other content overwrites the file.",
        loop="The run stops before the next chunk, because it would mix two datasets.",
        report="Terminal and A1: `The frames file … was changed during the run`, with both SHA-256.",
        requirements=("S4", "H7"),
    ),
    Fault(
        id="run-folder-moved-loop",
        title="The run's folder is renamed during a whole loop, and back.",
        injected="`results/<run>` is renamed while the tokenizer trains, and renamed back after the session has ended.",
        loop="The run stops with exit status 1 after the chunk, without halving the batch. `--resume-run` passes, "
        "bit-identical to an undisturbed loop.",
        report="On the terminal: `The run's folder … was renamed, removed or replaced while the run is going on.`",
        requirements=("H7", "S4"),
        lost="the updates of the chunk since its last checkpoint; they are trained again",
        slow=True,
    ),
    Fault(
        id="folders-removed-loop",
        title="A folder is removed during a whole loop: the working folder, the logs or the settings of the run.",
        injected="The project, `results/<run>/logs` or `results/<run>/configs` is removed while the tokenizer trains.",
        loop="The run stops with exit status 1 after the chunk, without a retune. Where only files of the run are "
        "gone, `--resume-run` goes on.",
        report="On the terminal: `… was renamed, removed or replaced while the run is going on`, `… is gone: a folder "
        "of the run was renamed or removed`, or `… is this run's copy of its settings files, and it is gone`.",
        requirements=("H7", "S4"),
        lost="what was in the removed folder; of the chunk, the updates since its last checkpoint",
        slow=True,
    ),
    Fault(
        id="dataset-deleted-loop",
        title="The frames file is moved away during a whole loop, and back.",
        injected="It is renamed while the tokenizer trains, and renamed back after the run has stopped.",
        loop="The run stops with exit status 1 after the chunk. `--resume-run` passes, bit-identical to an "
        "undisturbed loop.",
        report="A1: `The frames file data/bars_frames.h5 is gone`.",
        requirements=("H7", "L5", "A1"),
        slow=True,
    ),
    Fault(
        id="project-path",
        title="The name of the project's folder has spaces, quotes, `%`, `$`, brackets and `#`.",
        injected=f"{PLACE}no terminal, no temporary folder, an ASCII locale.",
        loop="The loop passes: stages, git and the HTML page get every path unchanged.",
        report=PASSED,
        requirements=("H3", "L4", "A8"),
        slow=True,
    ),
    Fault(
        id="no-home",
        title="HOME and USER are not set.",
        injected="The same loop: the environment has neither variable.",
        loop="The loop passes and leaves no cache folder in the project.",
        report=PASSED,
        requirements=("H3",),
        slow=True,
    ),
    Fault(
        id="no-terminal",
        title="There is no terminal and no standard input.",
        injected="The same loop: its standard input is closed, its output is a pipe.",
        loop="The loop passes and prints plain lines without control sequences.",
        report=PASSED,
        requirements=("H3",),
        slow=True,
    ),
    Fault(
        id="ascii-terminal",
        title="The locale is ASCII only.",
        injected="The same loop: LC_ALL=C with Python's UTF-8 mode switched off.",
        loop="The loop passes; the terminal gets ASCII, files are UTF-8.",
        report=PASSED,
        requirements=("H3", "A1"),
        slow=True,
    ),
    Fault(
        id="no-temporary-folder",
        title="TMPDIR names a folder that does not exist.",
        injected="The same loop with such a TMPDIR.",
        loop="The loop passes and does not create the folder.",
        report=PASSED,
        requirements=("H3",),
        slow=True,
    ),
    Fault(
        id="tiny-terminal",
        title="The terminal has twelve columns and three lines.",
        injected="A whole loop on a pseudo-terminal of that size.",
        loop="The loop passes; progress bars and summary adapt to the size.",
        report=PASSED,
        requirements=("H3",),
        slow=True,
    ),
    Fault(
        id="unwritable-home",
        title="HOME is not writable.",
        injected="The same loop with HOME=/proc, where not even root can write.",
        loop="The loop passes.",
        report=PASSED,
        requirements=("H3",),
        slow=True,
    ),
    Fault(
        id="reader-leaves",
        title="The reader of the output goes away.",
        injected="The pipe that the session writes to is closed after the run's first lines.",
        loop="The run continues to its end without output; exit status and reports are unaffected.",
        report="All reports are written.",
        requirements=("L10",),
    ),
    Fault(
        id="git-missing",
        title="The machine has no git.",
        injected="PATH names a folder without git.",
        loop="The audit is INVALID, so the exit status is not 0; nothing else is affected.",
        report="A1: `The git program was not found, so the history cannot be read. Install git and run again.`",
        requirements=("L4",),
    ),
    Fault(
        id="latin-1-words",
        title="A stale training process has arguments in another character set.",
        injected="A real stage process of the project has bytes on its command line that are not valid UTF-8.",
        loop="It is ended and recorded like any other.",
        report="A1 shows its command line with escapes.",
        requirements=("L1", "A1"),
    ),
)
