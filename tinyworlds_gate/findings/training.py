"""Findings on chunks, stage gates, parameters and channels: L5, S1–S5, P1–P2, M1–M3, H1, H2, H7–H9."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tinyworlds_gate.findings.base import (
    NOTHING_TRAINED,
    Events,
    Finding,
    chunk_name,
    finding,
    follows,
    no_occasion,
    not_run,
)
from tinyworlds_gate.findings.facts import TRACKED, options, resuming_stages, settings_table
from tinyworlds_gate.names import DEGRADED, FAIL, INVALID, NOT_RUN, PASS, STAGES
from tinyworlds_gate.run.journal import events_of, last_event

GATE_OF_STAGE = {"video_tokenizer": "S1", "latent_actions": "S2", "dynamics": "S3"}


def stage_order(events: Events) -> Finding:
    """L5: the stages trained in order, each after the previous one had finished."""
    first: dict[str, int] = {}
    for event in events_of(events, "chunk_started"):
        first.setdefault(event["stage"], event["seq"])
    if not first:
        return not_run("L5", NOTHING_TRAINED)
    finished = {event["stage"]: event["seq"] for event in reversed(events_of(events, "stage_finished"))}
    trained = [stage for stage in STAGES if stage in first]
    problems = [
        f"{later} started before {earlier} had finished"
        for earlier, later in pairwise(trained)
        if first[later] < finished.get(earlier, first[later] + 1)
    ]
    problems += [
        f"{stage} finished without a decision of its gate"
        for stage in trained
        if stage in finished and _passed(events, stage) and not events_of(events, "stage_gate", stage=stage)
    ]
    return finding("L5", problems, "trained in order, each with its gate: " + " → ".join(trained))


def _passed(events: Events, stage: str) -> bool:
    return (last_event(events, "stage_finished", stage=stage) or {}).get("verdict") in (PASS, DEGRADED)


def stage_gate(events: Events, stage: str) -> Finding:
    """S1, S2 or S3: the last decision of the stage's gate."""
    id = GATE_OF_STAGE[stage]
    gates = events_of(events, "stage_gate", stage=stage)
    if not events_of(events, "chunk_started", stage=stage):
        complete = complete_stages(events).get(stage)
        return no_occasion(id, complete) if complete else not_run(id, f"{stage} was not trained in this run")
    if not gates:
        return Finding(id, FAIL, f"{stage}: no chunk reached the stage gate")
    last, finished = gates[-1], events_of(events, "stage_finished", stage=stage)
    if (required := decision_by_rule(last)) not in (None, last["decision"]):
        return Finding(
            id,
            INVALID,
            f"{stage}: the gate recorded {last['decision']}, but its measures and thresholds require {required}: "
            f"{last['reason']}",
        )
    if last["decision"] not in ("continue", "watch"):
        return Finding(id, FAIL, f"{stage}: {last['decision']}: {last['reason']}")
    if finished and finished[-1]["verdict"] not in (PASS, DEGRADED):
        return Finding(id, FAIL, f"{stage}: {finished[-1]['reason']}")
    verdict = DEGRADED if finished and finished[-1].get("degraded") else PASS
    return Finding(id, verdict, f"{stage}: {last['decision']}: {last['reason']}")


def complete_stages(events: Events) -> dict[str, str]:
    """Return stage → why it was not trained, for stages whose start had reached their target before the run."""
    ended = [event for event in events_of(events, "stage_finished") if event["verdict"] == NOT_RUN]
    return {event["stage"]: f"{event['stage']}: {event['reason']}" for event in ended}


def decision_by_rule(gate: Mapping[str, Any]) -> str | None:
    """Return the decision that a gate's recorded measures and thresholds require (docs/requirements.md).

    None where a measure or a threshold is not recorded, or where the gate could not judge (`invalid`).
    """
    m, limit = gate.get("measures") or {}, gate.get("thresholds") or {}
    if gate.get("decision") == "invalid":
        return None
    try:
        final, late, middle = m["final_loss"], m["late_mean"], m["middle_mean"]
        if gate["id"] == "S1":
            if final <= limit["continue_loss"] and late <= limit["late_over_middle"] * middle:
                return "continue"
            return "watch" if final <= limit["watch_loss"] else "retune"
        if gate["id"] == "S2":
            codes, entropy = m["unique_actions"], m["action_entropy_nats"]
            if codes < limit["min_unique_actions"]:
                return "retune"
            if final <= limit["continue_loss"] and entropy >= limit["min_action_entropy_nats"]:
                return "continue"
            return "watch" if final <= limit["watch_loss"] else "retune"
        rise = m["rise"]
        if final >= limit["diverged_loss"] and late > middle:
            return "retune"
        if (
            late <= limit["continue_late_over_middle"] * middle
            and rise <= limit["continue_rise"]
            and final <= limit["continue_loss"]
        ):
            return "continue"
        steady = late <= limit["watch_late_over_middle"] * middle and rise <= limit["watch_rise"]
        return "watch" if steady else "retune"
    except (KeyError, TypeError):
        return None


def chunk_checkpoints(events: Events) -> Finding:
    """S4: every chunk that reached its gate has exit code 0, its checkpoint, finite losses and a fresh picture."""
    chunks = events_of(events, "chunk_finished")
    if not chunks:
        return not_run("S4", NOTHING_TRAINED)
    gated = {gate["chunk"] for gate in events_of(events, "stage_gate")}
    started = {str(event["chunk"]): event for event in events_of(events, "chunk_started")}
    problems = []
    for chunk in chunks:
        if chunk["chunk"] not in gated:
            continue
        if chunk.get("exit_code") != 0:
            problems.append(f"{chunk_name(chunk)} reached its gate with exit code {chunk.get('exit_code')}")
        start = started.get(str(chunk["chunk"]))
        expected = None if start is None else start["end_update"] - 1
        found = (chunk.get("checkpoint") or {}).get("step")
        if found != expected:
            problems.append(f"{chunk_name(chunk)} reached its gate with checkpoint update {found}, expected {expected}")
        if not chunk.get("visualization") and not _no_occasion(chunk, "M3"):
            problems.append(f"{chunk_name(chunk)} reached its gate without a fresh picture")
        if chunk.get("final_loss") is None:
            problems.append(f"{chunk_name(chunk)} reached its gate without a finite loss")
    if not gated:
        stage = str(chunks[-1].get("stage"))
        return follows("S4", stage_gate(events, stage), f"none of {len(chunks)} chunk(s) counted")
    return finding("S4", problems, f"{len(gated)} of {len(chunks)} chunk(s) counted, each with a verified checkpoint")


def thresholds_named(events: Events, gates: Mapping[str, Mapping[str, Any]]) -> Finding:
    """S5: each stage gate recorded its thresholds, and they are the profile's."""
    gates_reached = events_of(events, "stage_gate")
    if not gates_reached:
        return not_run("S5", "no stage gate was reached in this run")
    problems = [
        f"the gate of {chunk_name(gate)} used other thresholds than the profile's"
        for gate in gates_reached
        if gate.get("id") != "S4" and dict(gate.get("thresholds") or {}) != dict(gates[gate["stage"]])
    ]
    return finding("S5", problems, f"{len(gates_reached)} stage gate(s) used the profile's thresholds")


def parameters(events: Events) -> list[Finding]:
    """P1, P2 and H9: each chunk's parameters have an origin and the resolved value; the effective batch is tracked."""
    chunks = events_of(events, "chunk_started")
    if not chunks:
        return [not_run(id, NOTHING_TRAINED) for id in ("P1", "P2", "H9")]
    batch = []
    for chunk in chunks:
        nodes = chunk.get("nnodes", 1)
        product = _effective_batch(chunk["params"], chunk, nodes)
        if chunk["effective_batch"] != product:
            batch.append(
                f"{chunk_name(chunk)}: effective batch {chunk['effective_batch']}, but batch "
                f"{chunk['params']['batch_size_per_gpu']} × accumulation "
                f"{chunk['params']['gradient_accumulation_steps']} × {chunk['nproc_per_node']} workers × {nodes} "
                f"node(s) is {product}"
            )
    batches = {stage: _sequence(chunks, stage) for stage in STAGES}
    shown = ", ".join(f"{stage} {' → '.join(map(str, sizes))}" for stage, sizes in batches.items() if sizes)
    p2 = finding("P2", batch, f"effective batch of {len(chunks)} chunk(s): {shown}")
    return [
        finding(
            "P1", _parameter_problems(events), f"{len(chunks)} chunk(s) used the resolved values; {_origins(chunks)}"
        ),
        p2,
        _changes_reported(events, p2, shown),
    ]


def _effective_batch(params: Mapping[str, Any], chunk: Mapping[str, Any], nodes: int) -> int:
    product = params["batch_size_per_gpu"] * params["gradient_accumulation_steps"] * chunk["nproc_per_node"] * nodes
    return int(product)


def _sequence(chunks: Sequence[Mapping[str, Any]], stage: str) -> list[int]:
    """Return the effective batches of a stage in order, equal neighbours once."""
    sizes = [int(chunk["effective_batch"]) for chunk in chunks if chunk["stage"] == stage]
    return [size for index, size in enumerate(sizes) if index == 0 or size != sizes[index - 1]]


def _origins(chunks: Sequence[Mapping[str, Any]]) -> str:
    sources = dict.fromkeys(str(chunk["param_sources"].get("learning_rate")) for chunk in chunks)
    return f"learning rates from {', '.join(sources)}, as their histories show"


def _parameter_problems(events: Events) -> list[str]:
    """P1: fold the journal from the resolved settings over every retune and retraining, and compare each chunk."""
    current = {
        (stage, key): entry["value"]
        for stage in STAGES
        for key in TRACKED
        if (entry := settings_table(events).get(f"stages.{stage}.{key}"))
    }
    problems = []
    for event in events:
        name, stage = event["event"], str(event.get("stage"))
        if name == "retune" and event.get("proceed", True):
            current |= {(stage, key): pair[1] for key, pair in (event.get("changes") or {}).items()}
        elif name == "dynamics_retrain":
            current["dynamics", "learning_rate"] = event["learning_rate"]
        elif name == "chunk_started":
            for key in TRACKED:
                if not event["param_sources"].get(key):
                    problems.append(f"{chunk_name(event)}: the origin of {key} is missing")
                expected, used = current.get((stage, key)), event["params"].get(key)
                if expected is not None and used is not None and not math.isclose(expected, used, rel_tol=1e-9):
                    problems.append(f"{chunk_name(event)}: {key} was {used:g}, but {expected:g} was resolved")
        elif name == "chunk_finished":
            problems += [
                f"{chunk_name(event)}: {problem}"
                for problem in [*(event.get("problems") or []), *(event.get("notes") or [])]
                if "learning rate of update" in problem
            ]
    return problems


def _changes_reported(events: Events, p2: Finding, shown: str) -> Finding:
    """H9: every retune and every retraining records what it changed, and the effective batch before and after."""
    retunes, retrains = events_of(events, "retune"), events_of(events, "dynamics_retrain")
    if p2.is_broken:
        return follows("H9", p2)
    if not retunes and not retrains:
        return no_occasion("H9", "nothing was retuned or retrained")
    problems = []
    started = {repr(event.get("chunk")): event for event in events_of(events, "chunk_started")}
    for event in retunes:
        where, stated = f"the retune {event.get('id')} after {chunk_name(event)}", event.get("effective_batch") or []
        if len(stated) != 2:
            problems.append(f"{where} does not state the effective batch")
            continue
        chunk = started.get(repr(event.get("chunk")))
        if chunk is None:
            continue
        new = {**chunk["params"], **{key: pair[1] for key, pair in (event.get("changes") or {}).items()}}
        nodes = chunk.get("nnodes", 1)
        expected = [_effective_batch(params, chunk, nodes) for params in (chunk["params"], new)]
        if list(stated) != expected:
            problems.append(f"{where} states the effective batch {stated}, but its parameters give {expected}")
    problems += [
        f"the retraining after retry {event.get('retry')} does not state its learning rate and updates"
        for event in retrains
        if any(event.get(key) is None for key in ("learning_rate", "from_update", "to_update"))
    ]
    rates = ", ".join(f"{event['learning_rate']:g}" for event in retrains if event.get("learning_rate") is not None)
    trained = f"{len(retrains)} retraining(s){f' at learning rate {rates}' if rates else ''}"
    return finding("H9", problems, f"{len(retunes)} retune(s) and {trained}; effective batch: {shown}")


def channels(events: Events) -> list[Finding]:
    """M1, M2, M3: every chunk that counts wrote new history rows, checkpoints and pictures.

    A chunk that exited normally without updating a channel is INVALID and its updates are trained again; the finding
    mentions it. The channel itself is INVALID when they were not trained again.
    """
    gated = {gate["chunk"] for gate in events_of(events, "stage_gate")}
    finished = events_of(events, "chunk_finished")
    chunks = [chunk for chunk in finished if chunk["chunk"] in gated]
    exited_normally = [chunk for chunk in finished if chunk["chunk"] not in gated and chunk.get("cause") == "ok"]
    findings = []
    for id in ("M1", "M2", "M3"):
        limited = [chunk for chunk in chunks if _no_occasion(chunk, id)]
        stale = [_channel_text(chunk, id) for chunk in chunks if not _updated(chunk, id) and chunk not in limited]
        invalid = [chunk for chunk in exited_normally if not _updated(chunk, id)]
        stale += [_channel_text(chunk, id) for chunk in invalid if not _trained_again(chunk, chunks)]
        again = [_channel_text(chunk, id) for chunk in invalid if _trained_again(chunk, chunks)]
        if stale:
            findings.append(Finding(id, INVALID, "; ".join(stale)))
        elif not chunks:
            findings.append(not_run(id, "no chunk counted in this run"))
        elif len(limited) == len(chunks):
            findings.append(no_occasion(id, "; ".join(_channel_text(chunk, id) for chunk in limited)))
        else:
            moved = [chunk for chunk in chunks if chunk not in limited]
            more = f"; INVALID and trained again: {'; '.join(again)}" if again else ""
            more += f"; not due: {'; '.join(_channel_text(chunk, id) for chunk in limited)}" if limited else ""
            last = moved[-1]["channels"][id]["reason"]
            findings.append(Finding(id, PASS, f"updated in {len(moved)} chunk(s); last: {last}{more}"))
    return findings


def _no_occasion(chunk: Mapping[str, Any], id: str) -> bool:
    """Whether the chunk had nothing to leave in this channel: a checkout that draws no picture in its updates."""
    return id == "M3" and ((chunk.get("channels") or {}).get(id) or {}).get("verdict") == NOT_RUN


def _updated(chunk: Mapping[str, Any], id: str) -> bool:
    return bool(((chunk.get("channels") or {}).get(id) or {}).get("verdict") == PASS)


def _channel_text(chunk: dict[str, Any], id: str) -> str:
    channel = (chunk.get("channels") or {}).get(id) or {"reason": "not journalled"}
    return f"{chunk_name(chunk)}: {channel['reason']}"


def _trained_again(chunk: Mapping[str, Any], counted: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a later chunk of the same stage counts."""
    return any(later["stage"] == chunk["stage"] and later["chunk"] > chunk["chunk"] for later in counted)


def absolute_steps(events: Events) -> Finding:
    """H7: each chunk starts at the update where the previous one of its stage ended."""
    chunks = events_of(events, "chunk_started")
    if not chunks:
        return not_run("H7", NOTHING_TRAINED)
    target = last_event(list(events), "target_described")
    resuming = resuming_stages(target)
    restarted = [event for event in events if event.get("stage") not in resuming]
    if target is None or not events_of(restarted, "chunk_started"):
        return _resumed(events, chunks)
    emulated = _emulated(restarted, str(target["kind"]))
    continued = [event for event in events if event.get("stage") in resuming]
    if emulated.verdict != PASS or not events_of(continued, "chunk_started"):
        return emulated
    resumed = _resumed(continued, events_of(continued, "chunk_started"))
    verdict = PASS if resumed.verdict == NOT_RUN else resumed.verdict
    return Finding("H7", verdict, f"{', '.join(resuming)}: {resumed.reason}; the other stages: {emulated.reason}")


def _resumed(events: Events, chunks: Sequence[dict[str, Any]]) -> Finding:
    """H7 for stages that continue at a checkpoint's step."""
    problems, current = [], dict[str, int]()
    for event in events:
        stage = event.get("stage")
        if event["event"] == "chunk_started":
            if stage in current and event["start_update"] != current[stage]:
                problems.append(
                    f"{chunk_name(event)} started at update {event['start_update']}, but the stage was at "
                    f"update {current[stage]}"
                )
            if event["start_update"] > 0 and not event.get("resumed_from"):
                problems.append(
                    f"{chunk_name(event)} starts at update {event['start_update']} without a checkpoint to resume"
                )
            current.setdefault(event["stage"], event["start_update"])
        elif event["event"] == "chunk_finished":
            current[event["stage"]] = _updates_after(event)
        elif event["event"] == "checkpoint_refused":
            current[event["stage"]] = _updates_of(event["used"])
    resumed = [chunk for chunk in chunks if chunk["start_update"] > 0]
    if not resumed and not problems:
        several = len(chunks) > len({chunk["stage"] for chunk in chunks})
        what = "every chunk started from new weights" if several else "every stage was one chunk from update 0"
        return no_occasion("H7", f"{what}, so nothing was resumed")
    shown = ", ".join(f"{chunk_name(chunk)} at update {chunk['start_update']}" for chunk in resumed)
    return finding("H7", problems, f"{len(chunks)} chunk(s); continued at the absolute update: {shown}")


def _emulated(events: Events, kind: str) -> Finding:
    """H7 for a target that cannot resume: a training that counts must be one chunk from 0 to its target."""
    gated = {gate["chunk"] for gate in events_of(events, "stage_gate")}
    counted = [chunk for chunk in events_of(events, "chunk_started") if chunk["chunk"] in gated]
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


def _updates_after(finished: Mapping[str, Any]) -> int:
    """Return the updates of the stage's current checkpoint after a chunk; a failed chunk falls back to an older one."""
    counts = finished.get("failure") is None and finished.get("cause") != "interrupted"
    return _updates_of(finished.get("checkpoint") if counts else finished.get("continue_from"))


def _updates_of(checkpoint: Mapping[str, Any] | None) -> int:
    return int(checkpoint["step"]) + 1 if checkpoint else 0


def defaults(events: Events) -> list[Finding]:
    """H1 and H2: the whole pipeline from fresh weights, unless options say otherwise."""
    return [_whole_pipeline(events), _fresh_weights(events)]


def _whole_pipeline(events: Events) -> Finding:
    chosen, trained = options(events).get("train_stage"), {c["stage"] for c in events_of(events, "chunk_started")}
    if chosen not in (None, "all"):
        return not_run("H1", "the whole pipeline was not requested")
    resolved = (settings_table(events).get("options.train_stage") or {}).get("value", "all")
    if resolved != "all":
        return Finding("H1", FAIL, f"no option was given, but train_stage is {resolved}")
    missing = [stage for stage in STAGES if stage not in trained]
    complete = complete_stages(events)
    if missing and set(missing) <= set(complete):
        return no_occasion("H1", "; ".join(complete[stage] for stage in missing))
    given = [stage for stage in missing if options(events).get(f"{stage.split('_')[0]}_checkpoint") is not None]
    if missing and events_of(events, "inference_started") and given != missing:
        return Finding("H1", FAIL, f"inference ran, but {missing[0]} was not trained")
    if missing:
        return not_run("H1", f"the run stopped before {missing[0]}")
    return Finding("H1", PASS, f"all three stages were trained: {', '.join(STAGES)}")


def _fresh_weights(events: Events) -> Finding:
    given = {
        name: value
        for name in ("checkpoint_policy", "video_checkpoint", "latent_checkpoint", "dynamics_checkpoint")
        if (value := options(events).get(name)) not in (None, "fresh")
    }
    if given:
        shown = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in given.items())
        return not_run("H2", f"set by option: {shown}")
    resolved = (settings_table(events).get("options.checkpoint_policy") or {}).get("value", "fresh")
    if resolved != "fresh":
        return Finding("H2", FAIL, f"no option was given, but checkpoint_policy is {resolved}")
    first = {chunk["stage"]: chunk for chunk in reversed(events_of(events, "chunk_started"))}
    if not first:
        return not_run("H2", NOTHING_TRAINED)
    resumed = [
        f"{stage} resumed {chunk['resumed_from']}" for stage, chunk in first.items() if chunk.get("resumed_from")
    ]
    return finding("H2", resumed, f"the first chunk of {', '.join(s for s in STAGES if s in first)} had new weights")


def degraded(events: Events) -> Finding:
    """H8: a run is marked degraded, with the cause, when a stage fell to one clip per GPU."""
    if not events_of(events, "chunk_started"):
        return not_run("H8", NOTHING_TRAINED)
    fell = [
        event
        for event in events_of(events, "retune")
        if (change := (event.get("changes") or {}).get("batch_size_per_gpu")) and change[1] == 1
    ]
    marked = {event["stage"] for event in events_of(events, "stage_finished") if event.get("degraded")}
    concluded = {event["stage"] for event in events_of(events, "stage_finished")}
    unmarked = [event["stage"] for event in fell if event["stage"] in concluded - marked]
    if unmarked:
        return Finding("H8", FAIL, f"{unmarked[0]} fell to batch_size_per_gpu 1, but the run is not marked degraded")
    uncaused = [event["stage"] for event in fell if not event.get("cause")]
    if uncaused:
        return Finding("H8", FAIL, f"{uncaused[0]} fell to batch_size_per_gpu 1, and its cause is not recorded")
    if fell:
        return Finding("H8", DEGRADED, f"{fell[0]['stage']} fell to batch_size_per_gpu 1: {fell[0].get('cause')}")
    return no_occasion("H8", "no stage fell to batch_size_per_gpu 1")
