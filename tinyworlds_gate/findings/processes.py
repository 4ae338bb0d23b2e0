"""Stale processes, the one launcher, and the devices: L1, L2, L3, H5, H6."""

from __future__ import annotations

from tinyworlds_gate.findings.base import (
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

STILL_RUNNING = ("still alive", "not permitted", "left alone")


def stale_processes(events: Events) -> Finding:
    """L1: before anything trained, training processes of this project were looked for and ended."""
    looked = of(events, "stale_processes", when="before")
    if not looked:
        return Finding("L1", INVALID, "the journal does not show that stale training processes were looked for")
    if looked[0].get("skipped"):
        return not_run("L1", f"not asked for: {looked[0]['skipped']}")
    first_chunk = of(events, "chunk_started")
    if first_chunk and first_chunk[0]["seq"] < looked[0]["seq"]:
        return Finding("L1", FAIL, "a chunk was started before stale processes were looked for")
    ended = looked[0]["ended"]
    alive = [record for record in ended if _still_runs(record)]
    return finding(
        "L1",
        [f"PID {record['pid']} {record['outcome']}" for record in alive],
        f"{len(ended)} stale training process(es) found and ended" if ended else "no stale training process was there",
    )


def single_launcher(events: Events) -> list[Finding]:
    """L2 and H5: every chunk had exactly one launcher; others were ended and recorded."""
    chunks = [c for c in of(events, "chunk_finished") if c.get("cause") != "interrupted"]
    if not chunks:
        return [not_run("L2", NOTHING_TRAINED), not_run("H5", NOTHING_TRAINED)]
    problems = [f"{chunk_name(c)} has no launcher PID" for c in chunks if not c.get("launcher_pid")]
    problems += _overlaps(events)
    guarded = [(chunk_name(c), c) for c in chunks]
    for name in ("inference_finished", "target_inference_finished"):
        guarded += [(f"inference attempt {e.get('attempt')}", e) for e in of(events, name)]
    extra = [(where, record) for where, event in guarded for record in event.get("extra_launchers") or []]
    problems += [
        f"{where}: a second launcher, PID {record['pid']}, was {record['outcome']}"
        for where, record in extra
        if _still_runs(record)
    ]
    pids = ", ".join(str(c.get("launcher_pid")) for c in chunks)
    holds = f"one launcher a chunk (PIDs {pids}); {len(extra)} extra process(es) ended"
    return [finding("L2", problems, holds), finding("H5", problems, holds)]


def devices(events: Events, gpus: int, nproc: int, nproc_given: bool) -> list[Finding]:
    """L3 and H6: the devices were watched, and all GPUs of the launcher worked at the same time, in each chunk that
    counts; a try that failed or was interrupted proves nothing and spoils nothing."""
    judged = {gate["chunk"] for gate in of(events, "stage_gate")}
    tries = of(events, "chunk_finished")
    chunks = [c for c in tries if c["chunk"] in judged] or tries
    if not chunks:
        return [not_run("L3", NOTHING_TRAINED), not_run("H6", NOTHING_TRAINED)]
    evidence = chunks[0].get("device_samples")
    if gpus == 0:
        told = "needs 2 NVIDIA GPUs, found 0"
        return [not_run("L3", told), not_run("H6", told)]
    if nproc == 1:
        told = (
            "--nproc-per-node 1 was given, so it does not apply"
            if nproc_given
            else f"needs 2 NVIDIA GPUs, found {gpus}"
        )
        watched = [f"{chunk_name(c)} has no device samples" for c in chunks if not c.get("device_samples")]
        return [finding("L3", watched, f"the GPU was watched in {len(chunks)} chunk(s)", evidence), not_run("H6", told)]
    unknown = [c for c in chunks if c.get("dual_gpu_ok") is None]
    idle = [c for c in chunks if c.get("dual_gpu_ok") is False]
    if unknown:
        told = f"{chunk_name(unknown[0])}: {unknown[0].get('dual_gpu_reason')}"
        return [Finding("L3", INVALID, told, evidence), Finding("H6", INVALID, told, evidence)]
    problems = [f"{chunk_name(c)}: {c.get('dual_gpu_reason')}" for c in idle]
    holds = f"in all {len(chunks)} chunks: {chunks[-1].get('dual_gpu_reason')}"
    return [
        Finding("L3", PASS, f"watched in {len(chunks)} chunk(s)", evidence),
        finding("H6", problems, holds, evidence),
    ]


def _overlaps(events: Events) -> list[str]:
    """Chunks that started before the one before them had finished."""
    problems, running = [], None
    for event in events:
        if event["event"] == "chunk_started":
            if running is not None:
                problems.append(f"{chunk_name(event)} started while {chunk_name(running)} was still running")
            running = event
        elif event["event"] == "chunk_finished":
            running = None
    return problems


def _still_runs(record: dict[str, object]) -> bool:
    outcome = str(record.get("outcome"))
    return any(word in outcome for word in STILL_RUNNING)
