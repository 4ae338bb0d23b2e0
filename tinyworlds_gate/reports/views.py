"""Rows of the reports' tables, built from a run's record (pure functions)."""

from __future__ import annotations

import math
from typing import Any

from tinyworlds_gate.gate.verdict_words import tone, verdict_word, without_word
from tinyworlds_gate.reports.markdown import duration, number
from tinyworlds_gate.reports.model import Attempt, Chunk, RunRecord
from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.journal import Event

Row = dict[str, Any]
Fact = tuple[str, Any, str]
CAUSES = {
    "ok": "finished",
    "out_of_memory": "ran out of memory",
    "runtime_error": "stopped with an error",
    "timeout": "ran too long and was ended",
    "disk_full": "stopped on a full disk",
    "setup_error": "stopped with an error that a smaller batch cannot fix",
    "guard": "was stopped by the launcher or GPU guard",
    "killed": "was killed from outside the harness",
    "node_lost": "lost a node",
    "interrupted": "was interrupted",
}


def dual_gpu_text(chunk: Chunk) -> str:
    """Return `True`, `False` or `unknown`: whether both GPUs were seen working at the same time (A6)."""
    shown = chunk.probe if (chunk.probe or {}).get("stands_for_chunk") else chunk.finished
    value = (shown or {}).get("dual_gpu_ok")
    return str(value) if isinstance(value, bool) else "unknown"


def cause_text(finished: Event | None) -> str:
    """Return how a chunk ended, as a phrase."""
    if finished is None:
        return "did not finish"
    return CAUSES.get(str(finished.get("cause")), str(finished.get("cause")))


def beyond_the_gate(record: RunRecord) -> list[Row]:
    """Return the long rollouts and the ranking of policies: a title, sentences or a problem, and the picture."""
    titles = {"horizon": "Long rollouts", "policies": "Scripted policies"}
    last = {event.get("kind"): event for event in record.events if event["event"] == "beyond_the_gate"}
    return [
        {
            "title": title,
            "problem": last[kind].get("problem"),
            "sentences": last[kind].get("sentences") or [],
            "picture": last[kind].get("picture"),
            "json": last[kind].get("json"),
        }
        for kind, title in titles.items()
        if kind in last
    ]


def chunk_row(chunk: Chunk) -> Row:
    """Return the row of a chunk for the tables of A1 and A6; fields that the journal lacks are None."""
    done, params = chunk.finished or {}, chunk.started.get("params") or {}
    gate = chunk.gate
    channels = done.get("channels") or {}
    ended, problems = cause_text(chunk.finished), [str(problem) for problem in done.get("problems") or []]
    return {
        "number": chunk.number,
        "stage": chunk.stage,
        "reason": chunk.started.get("reason"),
        "updates": f"{chunk.started.get('start_update')} → {chunk.started.get('end_update')}",
        "decision": gate.get("decision") if gate else f"no gate: it {ended}{' and does not count' if problems else ''}",
        "gate_id": gate.get("id") if gate else None,
        "gate_reason": gate.get("reason") if gate else "; ".join(problems) or None,
        "launcher": done.get("launcher_pid") if done.get("launcher_pid") is not None else "unknown",
        "dual_gpu": dual_gpu_text(chunk),
        "dual_gpu_reason": done.get("dual_gpu_reason") or "the chunk did not finish",
        "first_loss": done.get("first_loss"),
        "final_loss": done.get("final_loss"),
        "rate": done.get("updates_per_s"),
        "seconds": done.get("wall_s"),
        "cause": ended,
        "problems": problems,
        "why": failure_text(done.get("failure")),
        "params": params,
        "sources": chunk.started.get("param_sources") or {},
        "nproc": chunk.started.get("nproc_per_node"),
        "effective_batch": chunk.started.get("effective_batch"),
        "batch_note": batch_note(chunk.started),
        "workers": workers_text(done.get("workers")),
        "checkpoint": done.get("checkpoint"),
        "refused": done.get("refused") or [],
        "continue_from": done.get("continue_from") if done.get("refused") else None,
        "channels": [(name, (channels.get(name) or {}).get("verdict", "NOT-RUN")) for name in ("M1", "M2", "M3")],
        "extra_launchers": done.get("extra_launchers") or [],
        "log": chunk.started.get("log"),
        "log_tail": done.get("log_tail") or [],
    }


def failure_text(failure: Event | None) -> str | None:
    """Return why a chunk does not count: cause, stage and rank where they are known; None if it counts."""
    return str(failure["reason"]) if failure and failure.get("reason") else None


def batch_note(started: Event) -> str:
    """Return a note when the effective batch is not the product of its parts (P2), or covers several nodes."""
    params = started.get("params") or {}
    parts = [params.get("batch_size_per_gpu"), params.get("gradient_accumulation_steps"), started.get("nproc_per_node")]
    known = [part for part in parts if isinstance(part, int) and part > 0]
    recorded = started.get("effective_batch")
    if not isinstance(recorded, int) or len(known) < len(parts):
        return ""
    product = math.prod(known)
    if recorded % product:
        return f"contradiction: the parts give {product}"
    return "" if recorded == product else f"{recorded // product} nodes"


def workers_text(workers: list[Event] | None) -> str:
    """Return `rank 0 on cpu (200 steps), …`, or that no worker was seen."""
    if not workers:
        return "no worker was seen"
    return ", ".join(
        f"rank {worker.get('rank')} on {worker.get('device')} ({number(worker.get('steps'))} steps)"
        for worker in workers
    )


def attempt_row(attempt: Attempt) -> Row:
    """Return the row of an inference attempt."""
    judged, done, measures = attempt.verdict or {}, attempt.finished or {}, attempt.measures
    retrain = attempt.retrain
    before = "the trained stages"
    if retrain is not None:
        before = (
            f"dynamics retrained, updates {retrain.get('from_update')} → {retrain.get('to_update')} "
            f"at learning rate {number(retrain.get('learning_rate'))}"
        )
    if attempt.is_final:
        clips = "the evaluation set" if attempt.on_evaluation_set else "clips that no attempt has seen"
        before = f"attempt {attempt.number} passed; the same checkpoints, on {clips}"
    checkpoints = done.get("checkpoints") or {}
    return {
        "number": attempt.name.removeprefix("attempt ") if attempt.is_final else attempt.number,
        "name": attempt.name.capitalize(),
        "before": before,
        "verdict": judged.get("verdict") or "INVALID",
        "word": verdict_word(judged) if judged.get("verdict") else "INVALID",
        "tone": tone(judged) if judged.get("verdict") else "INVALID",
        "sentence": judged.get("sentence") or "The attempt has no verdict: the journal ends before it.",
        "mse": measures.get("mse"),
        "copy_last": measures.get("copy_last_mse"),
        "skill": measures.get("skill"),
        "picture": done.get("picture"),
        "verdict_picture": (attempt.drawn or {}).get("picture"),
        "verdict_picture_problem": (attempt.drawn or {}).get("problem"),
        "dynamics": (checkpoints.get("dynamics") or {}).get("path"),
        "conditions": judged.get("conditions") or [],
        "seconds": done.get("wall_s"),
        "exit_code": done.get("exit_code"),
    }


def setting_rows(record: RunRecord) -> list[tuple[str, Any, Any]]:
    """Return (key, value, origin) of every setting, sorted by key (P1)."""
    settings = (record.settings or {}).get("settings") or {}
    return [(key, item.get("value"), item.get("source")) for key, item in sorted(settings.items())]


def threshold_rows(record: RunRecord) -> list[tuple[str, Any]]:
    """Return the thresholds, flattened to dotted names (S5)."""
    return _flatten((record.settings or {}).get("thresholds") or {})


def _flatten(tree: Row, prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        rows += _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return rows


def checkpoint_rows(record: RunRecord) -> list[Row]:
    """Return the checkpoints that the last inference used, else the newest ones of the chunks."""
    done = next((attempt.finished for attempt in reversed(record.attempts) if attempt.finished), None)
    if done and done.get("checkpoints"):
        return [{"stage": stage, "used": True, **item} for stage, item in done["checkpoints"].items()]
    newest = {chunk.stage: (chunk.finished or {}).get("checkpoint") for chunk in record.chunks}
    return [{"stage": stage, "used": False, **item} for stage, item in newest.items() if item]


def environment_rows(record: RunRecord) -> list[tuple[str, Any]]:
    """Return (label, value) rows about machine, versions and source state."""
    machine = record.started.get("machine") or {}
    gpus = machine.get("gpus") or []
    names = ", ".join(f"{gpu.get('name')} ({number(gpu.get('memory_gib'))} GiB)" for gpu in gpus)
    state = " with uncommitted changes" if record.started.get("dirty") else ""
    commit = record.started.get("commit")
    return [
        ("Profile", record.started.get("profile")),
        ("Target", record.started.get("target")),
        ("Seed", record.started.get("seed")),
        ("Commit", f"{commit}{state}" if commit else None),
        ("CPUs", machine.get("cpus")),
        ("Memory (GiB)", machine.get("memory_gib")),
        ("GPUs", names or "none"),
        *sorted((record.started.get("versions") or {}).items()),
    ]


def timeline(record: RunRecord) -> list[tuple[float, str, str]]:
    """Return (Unix time, time since the start, sentence) of each step.

    The time since the start is missing where the clock went back.
    """
    begin = latest = float(record.started.get("time") or 0.0)
    rows = []
    for event in record.events:
        sentence = timeline_sentence(event)
        if sentence:
            moment = float(event.get("time") or 0.0)
            rows.append((moment, duration(moment - begin if moment >= latest else None), sentence))
            latest = max(latest, moment)
    return rows


def timeline_sentence(event: Event) -> str | None:
    """Return the sentence of an event; None for events that are not shown in the timeline."""
    get = event.get
    match event["event"]:
        case "run_started" if get("resumed"):
            return "The run was resumed."
        case "checkpoint_refused":
            used = get("used") or {}
            replacement = f"update {used['step']} is used instead" if used else "the stage starts from scratch"
            return f"A checkpoint of {get('stage')} was refused on resume; {replacement}."
        case "run_started":
            return f"The run {get('run')} started with profile {get('profile')}."
        case "config_checked":
            bad = [str(check.get("id")) for check in get("checks") or [] if check.get("verdict") != "PASS"]
            return f"The configs were checked: {'no problem' if not bad else 'problems in ' + ', '.join(bad)}."
        case "stale_processes":
            count = len(get("ended") or [])
            return f"{count} stale training process(es) ended ({get('when')})." if count else None
        case "dataset_ready":
            made = "generated" if get("generated") else "found"
            return f"Data {get('name')} was {made}: {get('frames')} frames, {get('episodes')} episodes."
        case "chunk_started":
            updates = f"updates {get('start_update')} → {get('end_update')}"
            return f"Chunk {get('chunk')} started: {get('stage')}, {updates} ({get('reason')})."
        case "chunk_finished":
            return f"Chunk {get('chunk')} {cause_text(event)} after {duration(get('wall_s'))}."
        case "stage_gate":
            return f"Gate {get('id')} of chunk {get('chunk')}: {get('decision')}. {get('reason')}"
        case "device_probe":
            seen = "saw all GPUs at work" if get("dual_gpu_ok") else "saw no evidence"
            return f"Device probe after chunk {get('chunk')} of {get('stage')}: it {seen}: {get('dual_gpu_reason')}."
        case "retune":
            return f"Retune {get('id')} of {get('stage')}: {changes_text(event)}."
        case "stage_finished":
            return f"Stage {get('stage')}: {get('verdict')}. {get('reason')}"
        case "inference_started":
            return f"Inference {attempt_name(*attempt_of(event))} started."
        case "inference_retry":
            return f"Inference {attempt_name(*attempt_of(event))}: {get('reason')}."
        case "settings_edited":
            return f"{get('sentence')}"
        case "inference_finished":
            return f"Inference {attempt_name(*attempt_of(event))} ended with exit code {get('exit_code')}."
        case "probe_started":
            what = f"{len(get('clips') or [])} clips are generated again without the true future"
            return f"Probe of {attempt_name(*attempt_of(event))}: {what}."
        case "gate_verdict":
            sentence = without_word(str(get("sentence")))
            return f"Inference gate, {attempt_name(*attempt_of(event))}: {verdict_word(event)}: {sentence}"
        case "verdict_picture" if get("problem"):
            return f"The picture of that verdict could not be drawn: {get('problem')}"
        case "verdict_expired":
            return f"On resume: {get('sentence')}."
        case "dynamics_retrain":
            return f"Dynamics is retrained (retry {get('retry')}) at learning rate {number(get('learning_rate'))}."
        case "git_evidence":
            return f"Git audit: {get('verdict')}. {get('reason')}"
        case "wandb_analysis":
            return f"Stage analysis: {get('verdict')}. {get('reason')}"
        case "interrupted":
            return f"The run was interrupted ({get('signal') or get('reason')})."
        case "run_finished":
            return f"The run ended: {get('status')}."
    return None


def changes_text(event: Event) -> str:
    """Return the changes of a retune: `learning_rate 0.0005 → 0.0001, …; effective batch 16 → 8`."""
    changes = [f"{key} {number(old)} → {number(new)}" for key, (old, new) in (event.get("changes") or {}).items()]
    batch = event.get("effective_batch")
    text = ", ".join(changes) or "no parameter changed"
    if batch and batch[0] != batch[1]:
        text += f"; effective batch {number(batch[0])} → {number(batch[1])}"
    return text
