"""A row of the record: what the journal of a run on a checkout says (pure, but for reading the journal)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tinyworlds_gate.names import FAIL, INVALID, STAGES
from tinyworlds_gate.reports.causes import causes_first
from tinyworlds_gate.reports.model import HEADLINE
from tinyworlds_gate.run.journal import Event, events_of, last_event

CHECKOUT, HARNESS, NOBODY = "the checkout", "this harness", "nobody"
NOT_DERIVED = "not derived from the journal; --fault states it"
NO_RUN = "no run: pytest ended before its journal was begun"


def facts_of(events: Sequence[Event], detected_by: str) -> dict[str, Any]:
    """Return what the checkout is and can: kind, signs, and each capability with the place in its code.

    ``detected_by``: the kind and its signs, as they are without a ``--target-file``.
    """
    described = last_event(events, "target_described")
    if described is None:
        return {}
    readings = [{"name": one["name"], "value": one["value"], "place": one["place"]} for one in described["readings"]]
    return {"kind": described["kind"], "detected_by": detected_by, "capabilities": readings}


def run_of(events: Sequence[Event], private: Mapping[str, str]) -> dict[str, Any]:
    """Return the verdict of a run, its stages, both gates, H6 and what failed.

    Args:
        events: of the journal; empty where no run was begun.
        private: a path of this machine → the word that stands for it in the record.
    """
    ended = last_event(events, "run_finished")
    sentence = NO_RUN if ended is None else str(ended["sentence"])
    headline = HEADLINE.match(sentence)
    findings = {one["id"]: one for one in events_of(events, "requirement")}
    bad = [one for one in findings.values() if one["verdict"] in (FAIL, INVALID)]
    failed = [(one["id"], one["reason"]) for one in bad if not one.get("follows_from")]
    causes = [
        {
            "id": id,
            "reason": reason,
            "followed_by": [*after, *(one["id"] for one in bad if one.get("follows_from") == id)],
        }
        for (id, reason), after in causes_first(failed)
    ]
    started = last_event(events, "run_started") or {}
    row = {
        "verdict": None if headline is None else headline["verdict"] + _scope(headline["scope"]),
        "sentence": sentence,
        "h6": _finding(findings, "H6"),
        "stages": [one for one in (_stage(events, stage) for stage in STAGES) if one is not None],
        "gates": _gates(events),
        "failed": causes,
        "fault": fault_of(events),
        "machine": _machine(started),
        "versions": started.get("versions") or {},
        "commit": started.get("commit"),
        "date": str(started.get("timestamp", ""))[:10].replace("_", "-"),
    }
    public: dict[str, Any] = without_paths(row, private)
    return public


def fault_of(events: Sequence[Event]) -> dict[str, str]:
    """Return whose fault it is that the run did not pass, and why, as far as the journal shows it."""
    ended = last_event(events, "run_finished")
    if ended is not None and ended["status"] == "passed":
        return {"whose": NOBODY, "sentence": "the run passed", "by": "the journal"}
    described = last_event(events, "target_described") or {}
    blocked = _unreadable_checkpoints(events, described)
    judged = last_event(events, "gate_verdict")
    conditions = [] if judged is None else judged["conditions"]
    not_run = next((one["reason"] for one in conditions if one["id"] == "G5.trusted"), None)
    raised = _raised(events)
    broken = [
        check["reason"]
        for check in (last_event(events, "config_checked") or {}).get("checks", [])
        if check["verdict"] == FAIL
    ]
    if blocked is not None:
        whose, sentence = CHECKOUT, blocked
    elif raised is not None:
        whose, sentence = CHECKOUT, raised
    elif broken:
        whose, sentence = CHECKOUT, f"its settings: {broken[0]}"
    elif not_run is not None:
        whose, sentence = HARNESS, not_run
    else:
        return {"whose": NOT_DERIVED, "sentence": "", "by": ""}
    return {"whose": whose, "sentence": sentence, "by": "the journal"}


def without_paths(value: Any, private: Mapping[str, str]) -> Any:
    """Replace the paths of this machine in every text, the longest first."""
    if isinstance(value, Mapping):
        return {key: without_paths(one, private) for key, one in value.items()}
    if isinstance(value, list):
        return [without_paths(one, private) for one in value]
    if not isinstance(value, str):
        return value
    for path in sorted(private, key=len, reverse=True):
        value = re.sub(rf"{re.escape(path)}(?=$|[^\w.-])", private[path], value)
    return value


def _unreadable_checkpoints(events: Sequence[Event], described: Event) -> str | None:
    """The place that refuses checkpoint folders, if the checkout's own inference failed for that."""
    own = next((one for one in events_of(events, "target_inference_finished") if one.get("exit_code") != 0), None)
    if own is None or (described.get("can") or {}).get("takes_checkpoint_folders", True):
        return None
    shown = next(one["place"] for one in described["readings"] if one["name"] == "takes_checkpoint_folders")
    return f"its inference refuses the checkpoint folders that its own stages save ({shown})"


def _raised(events: Sequence[Event]) -> str | None:
    """The last exception of the chunk that ended its stage."""
    chunk = last_event(events, "chunk_finished")
    failure = (chunk or {}).get("failure")
    if not failure or not failure.get("raised"):
        return None
    one = failure["raised"][-1]
    return f"{chunk['stage']} raised {one['type']} in {one['place']}: {one['message']}" if chunk else None


def _stage(events: Sequence[Event], stage: str) -> dict[str, Any] | None:
    chunks = events_of(events, "chunk_finished", stage=stage)
    if not chunks:
        return None
    begun = {one["chunk"]: one for one in events_of(events, "chunk_started", stage=stage)}
    counted = [one for one in chunks if not one.get("failure")]
    last = (counted or chunks)[-1]
    return {
        "stage": stage,
        "chunks": len(chunks),
        "counted": len(counted),
        "updates": begun[last["chunk"]]["end_update"],
        "updates_per_s": last.get("updates_per_s"),
        "final_loss": last.get("final_loss"),
        "seconds": round(sum(one.get("wall_s") or 0.0 for one in chunks)),
        "dual_gpu_ok": last.get("dual_gpu_ok"),
        "problem": None if counted else str((last.get("failure") or {}).get("reason")),
    }


def _gates(events: Sequence[Event]) -> dict[str, Any] | None:
    judged = last_event(events, "gate_verdict")
    if judged is None or not judged.get("gates"):
        return None
    measures = judged.get("measures") or {}
    errors = {"target": judged["gates"]["target"].get("mse"), "trusted": measures.get("mse")}
    sentences = {name: one["sentence"] for name, one in judged["gates"].items()}
    return {
        name: {"verdict": one["verdict"], "mse": errors[name], "sentence": sentences[name]}
        for name, one in judged["gates"].items()
    }


def _finding(findings: Mapping[str, Event], id: str) -> dict[str, Any] | None:
    one = findings.get(id)
    return None if one is None else {"verdict": one["verdict"], "reason": one["reason"]}


def _scope(scope: str | None) -> str:
    return f" ({scope})" if scope else ""


def _machine(started: Mapping[str, Any]) -> str:
    machine = started.get("machine") or {}
    gpus = [gpu["name"] for gpu in machine.get("gpus") or []]
    return f"{machine.get('cpus')} CPUs, {f'{len(gpus)} × {gpus[0]}' if gpus else 'no GPU'}"
