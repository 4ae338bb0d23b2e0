"""Findings on stale processes, the single launcher and the devices: L1, L2, L3, H5, H6."""

from __future__ import annotations

from tinyworlds_gate.findings.base import NOTHING_TRAINED, Events, Finding, chunk_name, finding, follows, not_run
from tinyworlds_gate.findings.facts import gpus_used, nproc
from tinyworlds_gate.names import FAIL, INVALID, PASS
from tinyworlds_gate.run.attempts import attempt_name, attempt_of
from tinyworlds_gate.run.journal import events_of

STILL_RUNNING = ("still alive", "not permitted", "left alone")


def stale_processes(events: Events) -> Finding:
    """L1: stale training processes of this project were searched for and ended before anything trained."""
    searches = events_of(events, "stale_processes", when="before")
    if not searches:
        return Finding("L1", INVALID, "the journal records no search for stale training processes")
    if searches[0].get("skipped"):
        return not_run("L1", f"switched off: {searches[0]['skipped']}")
    first_chunk = events_of(events, "chunk_started")
    if first_chunk and first_chunk[0]["seq"] < searches[0]["seq"]:
        return Finding("L1", FAIL, "a chunk started before the search for stale processes")
    ended = searches[0]["ended"]
    first_pids = ", ".join(str(record["pid"]) for record in ended)
    alive = [record for record in ended if _still_runs(record)]
    return finding(
        "L1",
        [f"PID {record['pid']} {record['outcome']}" for record in alive],
        f"{len(ended)} stale training process(es) found and ended (PID {first_pids})"
        if ended
        else "no stale training process was found",
    )


def single_launcher(events: Events) -> list[Finding]:
    """L2 and H5: every chunk had exactly one launcher; extra ones were ended and recorded."""
    chunks = [c for c in events_of(events, "chunk_finished") if c.get("cause") != "interrupted"]
    if not chunks:
        return [not_run("L2", NOTHING_TRAINED), not_run("H5", NOTHING_TRAINED)]
    problems = [f"{chunk_name(c)} has no launcher PID" for c in chunks if not c.get("launcher_pid")]
    problems += _overlaps(events)
    guarded = [(chunk_name(c), c) for c in chunks]
    for name in ("inference_finished", "probe_finished", "target_inference_finished"):
        guarded += [(f"inference {attempt_name(*attempt_of(e))}", e) for e in events_of(events, name)]
    extra = [(where, record) for where, event in guarded for record in event.get("extra_launchers") or []]
    running: dict[tuple[int, str], list[str]] = {}
    for where, record in extra:
        if _still_runs(record):
            running.setdefault((record["pid"], record["outcome"]), []).append(where)
    problems += [
        f"{', '.join(dict.fromkeys(places))}: a second launcher, PID {pid}, was {outcome}"
        for (pid, outcome), places in running.items()
    ]
    pids = ", ".join(str(c.get("launcher_pid")) for c in chunks)
    l2 = finding(
        "L2", problems, f"one launcher in each of {len(chunks)} chunk(s); {len(extra)} extra process(es) ended"
    )
    if l2.is_broken:
        return [l2, follows("H5", l2)]
    return [l2, Finding("H5", PASS, f"one launcher per chunk (PIDs {pids})")]


def device_rows(events: Events) -> list[Finding]:
    """L3 and H6 for the GPUs and workers that the journal records.

    Raises:
        MissingFactError: the journal does not record them.
    """
    workers, given = nproc(events)
    return devices(events, gpus_used(events), workers, given)


def devices(events: Events, gpus: int, nproc: int, nproc_given: bool) -> list[Finding]:
    """L3 and H6: in each chunk that counts, the devices were monitored and all GPUs worked at the same time.

    Failed and interrupted tries are ignored, unless no chunk counts.
    """
    gated = {gate["chunk"] for gate in events_of(events, "stage_gate")}
    finished = events_of(events, "chunk_finished")
    chunks = [c for c in finished if c["chunk"] in gated] or finished
    if not chunks:
        return [not_run("L3", NOTHING_TRAINED), not_run("H6", NOTHING_TRAINED)]
    evidence = chunks[0].get("device_samples")
    stopped = [end for end in events_of(events, "stage_finished") if end["verdict"] == INVALID]
    if stopped and gpus and nproc > 1:
        probes = events_of(events, "device_probe", stage=stopped[-1]["stage"])
        samples = probes[-1].get("device_samples") if probes else None
        l3 = Finding("L3", INVALID, f"{stopped[-1]['stage']}: {stopped[-1]['reason']}", samples or evidence)
        return [l3, follows("H6", l3, evidence=samples or evidence)]
    if gpus == 0:
        reason = "needs 2 NVIDIA GPUs, found 0"
        return [not_run("L3", reason), not_run("H6", reason)]
    if nproc == 1:
        reason = "does not apply with --nproc-per-node 1" if nproc_given else f"needs 2 NVIDIA GPUs, found {gpus}"
        missing = [f"{chunk_name(c)} has no device samples" for c in chunks if not c.get("device_samples")]
        return [
            finding("L3", missing, f"monitored in {len(chunks)} chunk(s)", evidence),
            not_run("H6", reason),
        ]
    proven = {probe["chunk"]: probe for probe in events_of(events, "device_probe") if probe.get("stands_for_chunk")}
    unknown = [c for c in chunks if c.get("dual_gpu_ok") is None and c["chunk"] not in proven]
    idle = [c for c in chunks if c.get("dual_gpu_ok") is False]
    if unknown:
        reason = f"{chunk_name(unknown[0])}: {unknown[0].get('dual_gpu_reason')}"
        l3 = Finding("L3", INVALID, reason, evidence)
        return [l3, follows("H6", l3, evidence=evidence)]
    problems = [f"{chunk_name(c)}: {c.get('dual_gpu_reason')}" for c in idle]
    shown = proven.get(chunks[-1]["chunk"], chunks[-1])
    pass_reason = f"in all {len(chunks)} chunks: {shown.get('dual_gpu_reason')}{_probed(events)}"
    missing = [f"{chunk_name(c)} has no device samples" for c in chunks if not c.get("device_samples")]
    return [
        finding("L3", missing, f"monitored in {len(chunks)} chunk(s)", evidence),
        finding("H6", problems, pass_reason, evidence),
    ]


def _probed(events: Events) -> str:
    """Name the chunks that trained without evidence before a probe showed that it can be had."""
    probed = [f"{chunk_name(probe)}" for probe in events_of(events, "device_probe") if probe.get("dual_gpu_ok")]
    if not probed:
        return ""
    short = any(probe.get("stands_for_chunk") for probe in events_of(events, "device_probe"))
    why = " (its training was too short to be sampled)" if short else ""
    return f"; {', '.join(probed)} had no evidence of its own{why}, and a probe of the same command showed it"


def _overlaps(events: Events) -> list[str]:
    """Return a problem for each chunk that started before the previous one had finished."""
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
