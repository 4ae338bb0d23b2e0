"""Chunks, stage gates, parameters and channels: L5, S1–S5, P1–P2, M1–M3, H1, H2, H7–H9."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tinyworlds_gate.config.load import effective_batch
from tinyworlds_gate.findings.base import (
    DEGRADED,
    FAIL,
    INVALID,
    NOTHING_TRAINED,
    PASS,
    Events,
    Finding,
    chunk_name,
    finding,
    not_run,
    of,
)
from tinyworlds_gate.names import STAGES

GATE_OF_STAGE = {"video_tokenizer": "S1", "latent_actions": "S2", "dynamics": "S3"}
TRACKED = ("batch_size_per_gpu", "gradient_accumulation_steps", "learning_rate", "log_interval")


def stage_order(events: Events) -> Finding:
    """L5: the stages trained in their order, each after the one before it had finished."""
    first: dict[str, int] = {}
    for event in of(events, "chunk_started"):
        first.setdefault(event["stage"], event["seq"])
    if not first:
        return not_run("L5", NOTHING_TRAINED)
    finished = {event["stage"]: event["seq"] for event in reversed(of(events, "stage_finished"))}
    trained = [stage for stage in STAGES if stage in first]
    problems = [
        f"{later} started before {earlier} had finished"
        for earlier, later in pairwise(trained)
        if first[later] < finished.get(earlier, first[later] + 1)
    ]
    return finding("L5", problems, "trained in order: " + " → ".join(trained))


def stage_gate(events: Events, stage: str) -> Finding:
    """S1, S2 or S3: what the stage's last gate said."""
    id = GATE_OF_STAGE[stage]
    gates = of(events, "stage_gate", stage=stage)
    if not of(events, "chunk_started", stage=stage):
        return not_run(id, f"{stage} was not trained in this run")
    if not gates:
        return Finding(id, FAIL, f"{stage}: no chunk came as far as the stage gate")
    last, finished = gates[-1], of(events, "stage_finished", stage=stage)
    if last["decision"] not in ("continue", "watch"):
        return Finding(id, FAIL, f"{stage}: {last['decision']}: {last['reason']}")
    if finished and finished[-1]["verdict"] not in (PASS, DEGRADED):
        return Finding(id, FAIL, f"{stage}: {finished[-1]['reason']}")
    verdict = DEGRADED if finished and finished[-1].get("degraded") else PASS
    return Finding(id, verdict, f"{stage}: {last['decision']}: {last['reason']}")


def chunk_checkpoints(events: Events) -> Finding:
    """S4: every chunk that counted ended with exit 0, its own checkpoint, finite losses and a fresh picture."""
    chunks = of(events, "chunk_finished")
    if not chunks:
        return not_run("S4", NOTHING_TRAINED)
    judged = {gate["chunk"] for gate in of(events, "stage_gate")}
    problems = []
    for chunk in chunks:
        if chunk["chunk"] not in judged:
            continue
        if chunk.get("exit_code") != 0:
            problems.append(f"{chunk_name(chunk)} was judged although it ended with exit code {chunk.get('exit_code')}")
        started = of(events, "chunk_started", chunk=chunk["chunk"])
        expected = started[-1]["end_update"] - 1 if started else None
        found = (chunk.get("checkpoint") or {}).get("step")
        if found != expected:
            problems.append(f"{chunk_name(chunk)} was judged with a checkpoint of update {found}, expected {expected}")
        if not chunk.get("visualization"):
            problems.append(f"{chunk_name(chunk)} was judged without a fresh picture")
        if chunk.get("final_loss") is None:
            problems.append(f"{chunk_name(chunk)} was judged without a finite loss")
    if not judged:
        problems.append("no chunk counted")
    return finding("S4", problems, f"{len(judged)} of {len(chunks)} chunk(s) counted, each with a verified checkpoint")


def thresholds_named(events: Events, gates: Mapping[str, Mapping[str, Any]]) -> Finding:
    """S5: each stage gate names the thresholds that it used, and they are the profile's."""
    judged = of(events, "stage_gate")
    if not judged:
        return not_run("S5", "no stage gate was reached in this run")
    problems = [
        f"the gate of {chunk_name(gate)} used other thresholds than the profile's"
        for gate in judged
        if gate.get("id") != "S4" and dict(gate.get("thresholds") or {}) != dict(gates[gate["stage"]])
    ]
    return finding("S5", problems, f"{len(judged)} stage gate(s) name the profile's thresholds")


def parameters(events: Events) -> list[Finding]:
    """P1, P2 and H9: each chunk's parameters with their origin, and the effective batch that follows from them."""
    chunks = of(events, "chunk_started")
    if not chunks:
        return [not_run(id, NOTHING_TRAINED) for id in ("P1", "P2", "H9")]
    origin, batch = [], []
    for chunk in chunks:
        origin += [
            f"{chunk_name(chunk)}: the origin of {key} is missing"
            for key in TRACKED
            if not chunk["param_sources"].get(key)
        ]
        params = chunk["params"]
        product = effective_batch(
            params["batch_size_per_gpu"],
            params["gradient_accumulation_steps"],
            chunk["nproc_per_node"],
            chunk.get("nnodes", 1),
        )
        if chunk["effective_batch"] != product:
            batch.append(
                f"{chunk_name(chunk)}: effective batch {chunk['effective_batch']}, but the factors give {product}"
            )
    origin += [
        f"{chunk_name(chunk)}: {problem}"
        for chunk in of(events, "chunk_finished")
        for problem in [*(chunk.get("problems") or []), *(chunk.get("notes") or [])]
        if "learning rate of update" in problem
    ]
    sizes = sorted({chunk["effective_batch"] for chunk in chunks})
    changes = [
        f"the retune {event.get('id')} of {event.get('stage')} does not state the effective batch"
        for event in of(events, "retune")
        if len(event.get("effective_batch") or []) != 2
    ]
    return [
        finding(
            "P1", origin, f"all parameters of {len(chunks)} chunk(s) name their origin; the histories show these rates"
        ),
        finding("P2", batch, f"effective batch of {len(chunks)} chunk(s): {', '.join(map(str, sizes))}"),
        finding(
            "H9", batch + changes, f"{len(of(events, 'retune'))} retune(s), each with its changes and effective batch"
        ),
    ]


def channels(events: Events) -> list[Finding]:
    """M1, M2, M3: history, checkpoints and pictures moved in every chunk that counts.

    A chunk whose launcher ended well and in which one stood still is INVALID: it counts for nothing, its updates are
    trained again, and the finding says so. Where nothing was trained again, the channel itself is INVALID.
    """
    judged = {gate["chunk"] for gate in of(events, "stage_gate")}
    finished = of(events, "chunk_finished")
    chunks = [chunk for chunk in finished if chunk["chunk"] in judged]
    ended_well = [chunk for chunk in finished if chunk["chunk"] not in judged and chunk.get("cause") == "ok"]
    findings = []
    for id in ("M1", "M2", "M3"):
        stale = [_stood_still(chunk, id) for chunk in chunks if not _moved(chunk, id)]
        invalid = [chunk for chunk in ended_well if not _moved(chunk, id)]
        stale += [_stood_still(chunk, id) for chunk in invalid if not _made_good(chunk, chunks)]
        again = [_stood_still(chunk, id) for chunk in invalid if _made_good(chunk, chunks)]
        if stale:
            findings.append(Finding(id, INVALID, "; ".join(stale)))
        elif not chunks:
            findings.append(not_run(id, "no chunk counted in this run"))
        else:
            last = chunks[-1]["channels"][id]["reason"]
            told = f"; INVALID, and trained again: {'; '.join(again)}" if again else ""
            findings.append(Finding(id, PASS, f"moved in {len(chunks)} chunk(s); last: {last}{told}"))
    return findings


def _moved(chunk: Mapping[str, Any], id: str) -> bool:
    return bool(((chunk.get("channels") or {}).get(id) or {}).get("verdict") == PASS)


def _stood_still(chunk: dict[str, Any], id: str) -> str:
    channel = (chunk.get("channels") or {}).get(id) or {"reason": "not journalled"}
    return f"{chunk_name(chunk)}: {channel['reason']}"


def _made_good(chunk: Mapping[str, Any], counted: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a later chunk of its stage counts."""
    return any(later["stage"] == chunk["stage"] and later["chunk"] > chunk["chunk"] for later in counted)


def absolute_steps(events: Events) -> Finding:
    """H7: a chunk starts where the stage stood; nothing is trained twice from the beginning."""
    chunks = of(events, "chunk_started")
    if not chunks:
        return not_run("H7", NOTHING_TRAINED)
    target = of(events, "target_described")
    if target and not target[-1]["can"]["resumes"]:
        return _emulated(events, str(target[-1]["kind"]))
    problems, stands = [], dict[str, int]()
    for event in events:
        stage = event.get("stage")
        if event["event"] == "chunk_started":
            if stage in stands and event["start_update"] != stands[stage]:
                problems.append(
                    f"{chunk_name(event)} started at update {event['start_update']}, the stage stood at {stands[stage]}"
                )
            if event["start_update"] > 0 and not event.get("resumed_from"):
                problems.append(
                    f"{chunk_name(event)} starts at update {event['start_update']} without a checkpoint to resume"
                )
            stands.setdefault(event["stage"], event["start_update"])
        elif event["event"] == "chunk_finished":
            stands[event["stage"]] = _stands_after(event)
        elif event["event"] == "checkpoint_refused":
            stands[event["stage"]] = _updates_of(event["used"])
    several = {stage for stage in STAGES if len([c for c in chunks if c["stage"] == stage]) > 1}
    told = (
        f"continued at the absolute update in {', '.join(sorted(several))}"
        if several
        else "every stage had one chunk, from 0"
    )
    return finding("H7", problems, told)


def _emulated(events: Events, kind: str) -> Finding:
    """H7 on a target that restarts at step 0: nothing is resumed, and a training that counts is one whole chunk."""
    judged = {gate["chunk"] for gate in of(events, "stage_gate")}
    counted = [chunk for chunk in of(events, "chunk_started") if chunk["chunk"] in judged]
    parts = [
        f"{chunk_name(chunk)} trained updates {chunk['start_update']} to {chunk['end_update']} of "
        f"{chunk['target_updates']}"
        for chunk in counted
        if chunk["start_update"] != 0 or chunk["end_update"] != chunk["target_updates"] or chunk.get("resumed_from")
    ]
    restarts = f"a {kind} checkout restores weights only and restarts at step 0"
    if parts or not counted:
        return not_run(
            "H7", f"{restarts}, so absolute resuming cannot be shown: {'; '.join(parts) or 'no chunk counted'}"
        )
    return Finding(
        "H7",
        PASS,
        f"emulated: {restarts}, so each training that counts was one chunk from 0 to its target; none resumed",
    )


def _stands_after(finished: Mapping[str, Any]) -> int:
    """Updates of the checkpoint on which the stage stands after a chunk; a failed one falls back to an older."""
    counts = finished.get("failure") is None and finished.get("cause") != "interrupted"
    return _updates_of(finished.get("checkpoint") if counts else finished.get("continue_from"))


def _updates_of(checkpoint: Mapping[str, Any] | None) -> int:
    return int(checkpoint["step"]) + 1 if checkpoint else 0


def defaults(events: Events) -> list[Finding]:
    """H1 and H2: the whole pipeline from fresh weights, unless a person asked otherwise."""
    options = of(events, "run_started")[0].get("options") or {}
    trained = {chunk["stage"] for chunk in of(events, "chunk_started")}
    if options.get("train_stage", "all") != "all":
        whole = not_run("H1", f"--train-stage {options['train_stage']} was given")
    else:
        missing = [stage for stage in STAGES if stage not in trained]
        whole = (
            not_run("H1", f"the run stopped before {missing[0]}")
            if missing
            else Finding("H1", PASS, "all three stages were trained")
        )
    given = [
        name
        for name in ("checkpoint_policy", "video_checkpoint", "latent_checkpoint", "dynamics_checkpoint")
        if name in options
    ]
    if any(options.get(name) != "fresh" for name in given):
        return [
            whole,
            not_run("H2", f"a start was given ({', '.join('--' + name.replace('_', '-') for name in given)})"),
        ]
    first = {chunk["stage"]: chunk for chunk in reversed(of(events, "chunk_started"))}
    resumed = [
        f"{stage} resumed {chunk['resumed_from']}" for stage, chunk in first.items() if chunk.get("resumed_from")
    ]
    fresh = (
        finding("H2", resumed, "every stage started from fresh weights") if first else not_run("H2", NOTHING_TRAINED)
    )
    return [whole, fresh]


def degraded(events: Events) -> Finding:
    """H8: a stage that fell to one clip per GPU marks the run, with its cause."""
    if not of(events, "chunk_started"):
        return not_run("H8", NOTHING_TRAINED)
    fell = [
        event
        for event in of(events, "retune")
        if (change := (event.get("changes") or {}).get("batch_size_per_gpu")) and change[1] == 1
    ]
    marked = {event["stage"] for event in of(events, "stage_finished") if event.get("degraded")}
    unmarked = [e["stage"] for e in fell if e["stage"] not in marked and of(events, "stage_finished", stage=e["stage"])]
    if unmarked:
        return Finding("H8", FAIL, f"{unmarked[0]} fell to batch_size_per_gpu 1, but the run is not marked degraded")
    if fell:
        return Finding("H8", DEGRADED, f"{fell[0]['stage']} fell to batch_size_per_gpu 1: {fell[0].get('cause')}")
    return Finding("H8", PASS, "no stage fell to batch_size_per_gpu 1")
