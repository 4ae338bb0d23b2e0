"""Faults: the harness dies, and the run is resumed."""

from __future__ import annotations

from tests.faults.fault import Fault

ROWS: tuple[Fault, ...] = (
    Fault(
        id="journal-cut-anywhere",
        title="The harness dies between any two steps of a stage's training.",
        injected="The journal of a training with an out-of-memory retry and a retune is truncated after each of its "
        "events in "
        "turn. The other files stay, so checkpoints can be newer than the journal.",
        loop="The resumed training does exactly the remaining steps: same chunks, retunes, gates and final checkpoint.",
        report="A1 lists every try; a truncated one reads `was interrupted`.",
        requirements=("H7", "S4", "T1", "T2"),
        slow=True,
    ),
    Fault(
        id="journal-torn",
        title="The power fails while a journal line is written.",
        injected="The journal of a run is truncated in the middle of its last line.",
        loop="The torn line is moved to journal.jsonl.torn, and the run continues after the last complete one.",
        report="The event of the torn line is written again; no line is lost or duplicated.",
        requirements=("H7",),
    ),
    Fault(
        id="kill-harness-resume",
        title="The harness is killed while dynamics trains; the run is resumed.",
        injected="SIGKILL to the pytest process of a whole loop, in the second chunk of dynamics; then a "
        "learning rate in the project's YAML is edited.",
        loop="`--resume-run` continues from the newest checkpoint of the chunk; weights and measurements are "
        "bit-identical "
        "to those of an uninterrupted run.",
        report="A1's timeline: `The run was resumed.`; the chunk reads `was interrupted`.",
        slow=True,
        requirements=("H7", "L2", "L8"),
    ),
    Fault(
        id="damaged-checkpoint-resume",
        title="The current checkpoint of a killed run is damaged before the run is resumed.",
        injected="The weights of the newest counted checkpoint are truncated between the two sessions.",
        loop="It is refused with its reason. The next older valid checkpoint of this run is used, and the updates are "
        "trained again.",
        report="A1's timeline: `A checkpoint of video_tokenizer was refused on resume; update … is used instead.`",
        requirements=("S4", "H7"),
        lost="the updates since the older checkpoint; they are trained again",
    ),
    Fault(
        id="config-edited-before-resume",
        title="The run's copy of its settings was edited between the kill and the resume.",
        injected="A learning rate in results/<run>/configs/ is changed.",
        loop="The run is refused before anything starts; the error names the key and both values.",
        report="On the terminal: `the settings are not those that the run was started with`.",
        requirements=("P1",),
    ),
    Fault(
        id="dataset-changed-before-resume",
        title="The frames file was replaced between the kill and the resume.",
        injected="The data of another game overwrite the file.",
        loop="Nothing is trained.",
        report="A1: `the dataset was changed since`, with both SHA-256.",
        requirements=("H7",),
    ),
    Fault(
        id="random-kill-resume",
        title="A random process of the loop is killed at a random moment, twenty times.",
        injected="SIGKILL to pytest, the watchdog process (tether), torchrun, one of its two workers or the inference "
        "process, "
        "at a random moment of a loop with a retraining; the run is resumed when the harness was killed.",
        loop="Each time, the weights of all three models and the measurements of both attempts are bit-identical to "
        "those "
        "of an uninterrupted loop.",
        report="Both attempts, with the same verdicts.",
        requirements=("H7", "L2", "L8", "T5", "T6"),
        slow=True,
    ),
)
