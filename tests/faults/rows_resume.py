"""Rows of the fault matrix: the harness itself dies, and the run is resumed."""

from __future__ import annotations

from tests.faults.fault import Fault

ROWS: tuple[Fault, ...] = (
    Fault(
        id="journal-cut-anywhere",
        title="The harness dies between any two steps of a stage's training.",
        injected="A training with an out-of-memory retry and a retune is cut after each of its journal events in turn; "
        "what lay on the disk stays, so that checkpoints may be newer than the journal.",
        loop="The resumed training takes the remaining steps and no other: same chunks, retunes, gates and checkpoint.",
        report="A1 shows every try; one that was cut reads `was interrupted`.",
        requirements=("H7", "S4", "T1", "T2"),
        slow=True,
    ),
    Fault(
        id="journal-torn",
        title="The power fails while a line of the journal is written.",
        injected="The journal of a run is cut in the middle of its last line.",
        loop="The torn line is moved to journal.jsonl.torn, and the run goes on after the last whole one.",
        report="The event whose line was torn is written anew, no line is lost or doubled.",
        requirements=("H7",),
    ),
    Fault(
        id="kill-harness-resume",
        title="The harness is killed while dynamics trains; the run is resumed.",
        injected="SIGKILL to the pytest process of a whole loop, in the second chunk of dynamics; then a rate in "
        "the project's YAML is edited.",
        loop="`--resume-run` goes on at the newest checkpoint of the chunk; weights and measures are bit-identical to "
        "a run that nobody killed.",
        report="A1's timeline: `The run was resumed.`; the chunk reads `was interrupted`.",
        requirements=("H7", "L2", "L8"),
    ),
    Fault(
        id="damaged-checkpoint-resume",
        title="A checkpoint that a killed run stands on is damaged before it is resumed.",
        injected="The weights of the newest counted checkpoint are truncated between the two sessions.",
        loop="It is refused with its reason, the next older valid one of this run is used, and the updates are trained "
        "again.",
        report="A1's timeline: `A checkpoint of video_tokenizer was refused on resume; update … is used instead.`",
        requirements=("S4", "H7"),
        lost="the updates since the older checkpoint, which are trained again",
    ),
    Fault(
        id="config-edited-before-resume",
        title="The run's own copy of its settings was edited between the kill and the resume.",
        injected="A learning rate in results/<run>/configs/ is changed.",
        loop="Refused before anything starts, naming the key and both values.",
        report="On the terminal: `the settings are not those that the run was started with`.",
        requirements=("P1",),
    ),
    Fault(
        id="dataset-changed-before-resume",
        title="The frames file was replaced between the kill and the resume.",
        injected="Another game is written over the file.",
        loop="Nothing is trained.",
        report="A1: `the dataset was changed since`, with both SHA-256.",
        requirements=("H7",),
    ),
    Fault(
        id="random-kill-resume",
        title="Any process of the loop is killed at any moment, twenty times.",
        injected="SIGKILL to a random one of pytest, tether, torchrun, its two workers or the inference run, at a "
        "random moment of a loop with a retrained gate; resumed when it was the harness.",
        loop="Every repetition ends with the weights of all three models and the measures of both attempts "
        "bit-identical to the loop that nobody killed.",
        report="Both attempts, with the same verdicts.",
        requirements=("H7", "L2", "L8", "T5", "T6"),
        slow=True,
    ),
)
