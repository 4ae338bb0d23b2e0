"""Findings on the retune rules T1–T4 and T6, checked against the numbers of the specification.

What a retune must do is written out as plain arithmetic, independent of the code that plans it (stages/retune.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from tinyworlds_gate.findings.base import Events, Finding, chunk_name, finding, no_occasion
from tinyworlds_gate.findings.facts import TRACKED
from tinyworlds_gate.run.journal import events_of

Event = dict[str, Any]
Params = dict[str, float]

GATE_RULES = {"video_tokenizer": "T2", "latent_actions": "T3", "dynamics": "T4"}
CRASHES = ("out_of_memory", "runtime_error", "timeout")
NOT_THE_BATCH = "setup_error"
"""T1: an exception that no batch size can mend; its second try keeps the parameters."""
NOT_THE_TRAINING = ("guard", "killed", "node_lost", "missing_evidence")


def _halve_batch(old: Params) -> Params:
    return {**old, "batch_size_per_gpu": max(1, old["batch_size_per_gpu"] // 2)}


def _gate(factor: float, accumulation: int, interval_floor: int) -> Callable[[Params], Params]:
    def rule(old: Params) -> Params:
        interval = old["log_interval"]
        return {
            **old,
            # 1e-9 is the floor below which float32 weights no longer move.
            "learning_rate": max(old["learning_rate"] * factor, min(old["learning_rate"], 1e-9)),
            "gradient_accumulation_steps": max(1, old["gradient_accumulation_steps"] + accumulation),
            "log_interval": min(interval, max(interval_floor, interval // 2)),
        }

    return rule


RULES: Mapping[str, tuple[Callable[[Params], Params], str]] = {
    "T1": (_halve_batch, "batch_size_per_gpu / 2, floor 1"),
    "T2": (_gate(0.5, 1, 500), "learning rate × 0.5, accumulation + 1, log interval / 2, floor 500"),
    "T3": (_gate(0.8, 0, 250), "learning rate × 0.8, log interval / 2, floor 250"),
    "T4": (_gate(0.2, -1, 500), "learning rate × 0.2, accumulation − 1, floor 1, log interval / 2, floor 500"),
    "T6": (dict, "the same parameters"),
}
"""Rule → the parameters after it, and the rule in words (docs/requirements.md)."""


def retunes(events: Events) -> list[Finding]:
    """T1, T2, T3, T4 and T6: what each retune of this run changed, and what the next chunk really used."""
    return [_rule(id, events) for id in RULES]


def _rule(id: str, events: Events) -> Finding:
    happened = [event for event in events_of(events, "retune") if id in (event.get("id"), required_rule(event))]
    problems = [problem for event in happened for problem in _problems(id, event, events)]
    problems += [
        f"{chunk_name(chunk)} failed ({chunk['failure']['cause']}) and the next chunk began without a retune"
        for chunk in _not_retuned(events)
        if _rule_of(chunk["failure"]["cause"], chunk["stage"]) == id
    ]
    if not happened and not problems:
        anything = any(True for _ in events_of(events, "retune"))
        return no_occasion(id, f"nothing was retuned by {id}" if anything else "nothing was retuned")
    shown = "; ".join(f"{chunk_name(event)}: {_changes_text(event)}" for event in happened)
    return finding(id, problems, f"{len(happened)} retune(s) by the rule ({RULES[id][1]}): {shown}")


def required_rule(event: Mapping[str, Any]) -> str | None:
    """Return the rule that applies to a retune by its cause and stage; None for an unknown cause."""
    return _rule_of(_cause_of(event), str(event.get("stage")))


def _cause_of(event: Mapping[str, Any]) -> str:
    return str(event.get("cause")).split(":")[0]


def _rule_of(cause: str, stage: str) -> str | None:
    if cause in (*CRASHES, NOT_THE_BATCH):
        return "T1"
    if cause in NOT_THE_TRAINING:
        return "T6"
    return GATE_RULES.get(stage) if cause == "stage_gate" else None


def _problems(id: str, event: Event, events: Events) -> list[str]:
    where = f"the retune after {chunk_name(event)}"
    required = required_rule(event)
    if required != event.get("id"):
        return [f"{where} is recorded as {event.get('id')}, but {event.get('cause')} requires {required or 'no rule'}"]
    changes = {key: list(pair) for key, pair in (event.get("changes") or {}).items()}
    if not event.get("proceed", True):
        return [f"{where} gave up, but changed {_text(changes)}"] if changes else []
    failed = next((one for one in events_of(events, "chunk_started", chunk=event.get("chunk"))), None)
    if failed is None:
        return [f"{where} follows no chunk of the journal"]
    old = {key: failed["params"][key] for key in TRACKED}
    new = old if _cause_of(event) == NOT_THE_BATCH else RULES[id][0](old)
    expected = {key: [old[key], new[key]] for key in TRACKED if not math.isclose(old[key], new[key], rel_tol=1e-9)}
    problems = []
    if set(changes) != set(expected) or not all(_same(changes[key], expected[key]) for key in expected):
        problems.append(f"{where} set {_text(changes)}, but {id} requires {_text(expected)} ({RULES[id][1]})")
    following = _next_chunk(event, events)
    if following is not None:
        used = {key: following["params"][key] for key in TRACKED}
        wrong = [key for key in TRACKED if not math.isclose(used[key], new[key], rel_tol=1e-9)]
        problems += [
            f"{chunk_name(following)} after {where} used {key} {used[key]:g}, not {new[key]:g}" for key in wrong
        ]
    return problems


def _next_chunk(retune: Event, events: Events) -> Event | None:
    """Return the chunk that the retune was made for; None when the run ended before it, or dynamics was retrained."""
    for event in events:
        if event["seq"] <= retune["seq"]:
            continue
        if event["event"] == "dynamics_retrain" and retune["stage"] == "dynamics":
            return None
        if event["event"] == "chunk_started" and event["stage"] == retune["stage"]:
            return event
    return None


def _not_retuned(events: Events) -> list[Event]:
    """Return the failed chunks whose stage went on without a `retune` event.

    A chunk that failed for want of device evidence counts once a probe's evidence stands for it.
    """
    retuned = {event.get("chunk") for event in events_of(events, "retune")}
    found, open_failures = [], dict[str, Event]()
    for event in events:
        stage = str(event.get("stage"))
        if event["event"] == "chunk_started" and stage in open_failures:
            found.append(open_failures.pop(stage))
        elif event["event"] == "dynamics_retrain":
            open_failures.pop("dynamics", None)
        elif event["event"] == "device_probe" and event.get("stands_for_chunk"):
            open_failures.pop(stage, None)
        elif event["event"] == "chunk_finished" and event.get("failure") and event.get("chunk") not in retuned:
            open_failures[stage] = event
    return found


def _same(changes: list[float], expected: list[float]) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(changes, expected, strict=True))


def _text(changes: Mapping[str, list[float]]) -> str:
    return ", ".join(f"{key} {old:g} → {new:g}" for key, (old, new) in changes.items()) or "nothing"


def _changes_text(event: Mapping[str, Any]) -> str:
    if not event.get("proceed", True):
        return f"gave up: {event.get('reason')}"
    return _text({key: list(pair) for key, pair in (event.get("changes") or {}).items()})
