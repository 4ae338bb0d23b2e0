"""Findings on retraining dynamics after a failed inference gate: L8, T5, T7.

The plan is written out as arithmetic, independent of the code that plans it (stages/retune.py).
"""

from __future__ import annotations

import math
from typing import Any

from tinyworlds_gate.config.profile import RetryPlanConfig
from tinyworlds_gate.findings.base import Events, Finding, finding, follows, no_occasion, not_run
from tinyworlds_gate.findings.facts import max_mse, resuming_stages, retry_plan, settings_table
from tinyworlds_gate.findings.inference import NO_INFERENCE, failed_condition
from tinyworlds_gate.names import EVALUATION, FAIL, INVALID, PASS
from tinyworlds_gate.run.attempts import attempt_of, final_problems, is_final
from tinyworlds_gate.run.journal import events_of, last_event

Event = dict[str, Any]


def retraining_rows(events: Events) -> list[Finding]:
    """L8, T5 and T7 for the plan and the limit that the journal records.

    Raises:
        MissingFactError: the journal does not record them.
    """
    if not events_of(events, "gate_verdict"):
        return [not_run(id, NO_INFERENCE) for id in ("L8", "T5", "T7")]
    return retraining(events, retry_plan(events), max_mse(events))


def retraining(events: Events, retry: RetryPlanConfig, max_mse: float) -> list[Finding]:
    """L8, T5 and T7: a failed gate led to the specified retraining, and to none where it could not help."""
    if not events_of(events, "gate_verdict"):
        return [not_run(id, NO_INFERENCE) for id in ("L8", "T5", "T7")]
    t5 = _as_planned(events, retry, max_mse)
    return [_answered(events, retry, max_mse, t5), t5, _poor_tokenizer(events, max_mse)]


def _answered(events: Events, retry: RetryPlanConfig, max_mse: float, t5: Finding) -> Finding:
    verdicts, retrains = events_of(events, "gate_verdict"), events_of(events, "dynamics_retrain")
    attempts = [verdict for verdict in verdicts if not is_final(verdict)]
    shown = f"{len(retrains)} retraining(s) after {len(attempts)} attempt(s){_final_text(verdicts)}"
    if t5.is_broken:
        return follows("L8", t5)
    if verdicts[-1]["verdict"] == PASS:
        if problems := final_problems(events):
            return Finding("L8", FAIL, f"follows from H3: {'; '.join(problems)}", follows_from="H3")
        if not retrains:
            return no_occasion("L8", f"the first attempt passed{_final_text(verdicts)}")
        return Finding("L8", PASS, shown)
    why, cause = why_not_retrained(events, retry, max_mse), failed_condition(events)
    if why is None:
        left = f"{len(retrains)} of {retry.max} retries were used (--max-inference-retries)"
        return Finding("L8", FAIL, f"the gate did not pass, {left}, and dynamics was not retrained again; {shown}")
    if cause is None:
        return Finding("L8", FAIL, f"the gate did not pass; {shown}; {why}")
    return Finding("L8", FAIL, f"follows from {cause.id}: the gate did not pass; {shown}; {why}", follows_from=cause.id)


def why_not_retrained(events: Events, retry: RetryPlanConfig, max_mse: float) -> str | None:
    """Return why dynamics was not retrained after the last failed verdict; None when a retraining was due."""
    last, retrains = events_of(events, "gate_verdict")[-1], events_of(events, "dynamics_retrain")
    if any(is_final(verdict) for verdict in events_of(events, "gate_verdict")):
        return "no further retraining: the final verdict was taken, so that no unseen clips are left to judge one"
    train_stage = (settings_table(events).get("options.train_stage") or {}).get("value", "all")
    if train_stage not in ("all", "dynamics"):
        return f"no retraining: --train-stage {train_stage} trains no dynamics"
    if any(one["id"] == "G5.trusted" for one in last["conditions"]):
        return "no retraining: the trusted gate is NOT-RUN, so that none can make this run pass"
    own = [one for one in last["conditions"] if one["id"].endswith(".target")]
    broken = [one for one in own if one["verdict"] == (INVALID if one["id"] == "G5.target" else FAIL)]
    if broken:
        return f"no retraining can mend it: {broken[0]['reason']}"
    if retrains and retrains[-1]["seq"] > last["seq"]:
        ended = [
            one for one in events_of(events, "stage_finished", stage="dynamics") if one["seq"] > retrains[-1]["seq"]
        ]
        if ended:
            return f"retry {len(retrains)} did not complete its training: {ended[-1]['reason']}"
        return f"retry {len(retrains)} was stopped before its training ended"
    floor = reconstruction(last)
    if floor is not None and not floor <= max_mse:
        return f"no retraining: the tokenizer's own reconstruction error {floor:.4g} is above max_mse {max_mse:g} (T7)"
    if len(retrains) >= retry.max:
        return f"the budget of {retry.max} retries is spent (--max-inference-retries)"
    if (interrupted := last_event(events, "interrupted")) is not None and interrupted["seq"] > last["seq"]:
        return f"no retraining: the run was interrupted ({interrupted.get('reason')})"
    return None


def _as_planned(events: Events, retry: RetryPlanConfig, max_mse: float) -> Finding:
    verdicts, retrains = events_of(events, "gate_verdict"), events_of(events, "dynamics_retrain")
    if not retrains:
        if verdicts[0]["verdict"] == PASS:
            return no_occasion("T5", "the gate passed at its first attempt, so nothing was retrained")
        return no_occasion("T5", f"nothing was retrained: {why_not_retrained(events, retry, max_mse) or 'it was due'}")
    shown = ", ".join(
        f"to update {event['to_update']} at learning rate {event['learning_rate']:g}" for event in retrains
    )
    return finding(
        "T5", _deviations(events, retry), f"{len(retrains)} retraining(s) from the newest checkpoint: {shown}"
    )


def _poor_tokenizer(events: Events, max_mse: float) -> Finding:
    verdicts, retrains = events_of(events, "gate_verdict"), events_of(events, "dynamics_retrain")
    poor = [one for one in verdicts if (floor := reconstruction(one)) is not None and not floor <= max_mse]
    if not poor:
        floor = reconstruction(verdicts[-1])
        known = "was not measured" if floor is None else f"{floor:.4f} is within max_mse {max_mse:g}"
        return no_occasion("T7", f"the tokenizer's own reconstruction error {known}")
    wrong = [
        f"dynamics was retrained after attempt {verdict['attempt']} although the tokenizer's reconstruction error "
        f"{reconstruction(verdict):.4f} is above max_mse {max_mse:g}"
        for retrain in retrains
        if (verdict := _newest_before(verdicts, retrain)) in poor and verdict is not None
    ]
    return finding(
        "T7",
        wrong,
        f"dynamics was not retrained: the tokenizer's reconstruction error {reconstruction(poor[-1]):.4f} is above "
        f"max_mse {max_mse:g}; improve the tokenizer first",
    )


def _newest_before(verdicts: list[Event], retrain: Event) -> Event | None:
    return next((verdict for verdict in reversed(verdicts) if verdict["seq"] < retrain["seq"]), None)


def _deviations(events: Events, retry: RetryPlanConfig) -> list[str]:
    """T5: compare each retraining with init · decay^k, floored, for one retry chunk from the newest checkpoint."""
    problems = []
    target = last_event(events, "target_described")
    resumes = "dynamics" in resuming_stages(target)
    for k, event in enumerate(events_of(events, "dynamics_retrain")):
        name = f"retry {k + 1}"
        before = _newest_before(events_of(events, "gate_verdict"), event)
        if k >= retry.max:
            problems.append(f"{name} exceeds the budget of {retry.max}")
        if before is not None and before["verdict"] == PASS:
            problems.append(f"{name} followed a verdict that passed")
        rate = max(retry.lr_floor, retry.init_learning_rate * retry.lr_decay**k)
        if not math.isclose(event["learning_rate"], rate, rel_tol=1e-9):
            problems.append(
                f"{name} used learning rate {event['learning_rate']:g}; {retry.init_learning_rate:g} · "
                f"{retry.lr_decay:g}^{k} is {rate:g}"
            )
        if event["to_update"] != event["from_update"] + retry.chunk:
            problems.append(
                f"{name} trained to update {event['to_update']}; {event['from_update']} + one retry chunk of "
                f"{retry.chunk} is {event['from_update'] + retry.chunk}"
            )
        problems += _chunk_deviations(events, event, name, resumes)
    return problems


def _chunk_deviations(events: Events, retrain: Event, name: str, resumes: bool) -> list[str]:
    """Compare what the first chunk of a retraining did with its plan, and the plan with the newest checkpoint."""
    problems = []
    finished = [one for one in events_of(events, "stage_finished", stage="dynamics") if one["seq"] < retrain["seq"]]
    if finished and finished[-1].get("updates") not in (None, retrain["from_update"]):
        problems.append(
            f"{name} continued from update {retrain['from_update']}, but the newest dynamics checkpoint has "
            f"{finished[-1]['updates']} updates"
        )
    chunks = [one for one in events_of(events, "chunk_started", stage="dynamics") if one["seq"] > retrain["seq"]]
    if not chunks:
        return problems
    first = chunks[0]
    start = retrain["from_update"] if resumes else 0
    if first["start_update"] != start or (resumes and not first.get("resumed_from")):
        problems.append(f"{name} began at update {first['start_update']}, not at {start} from the newest checkpoint")
    if not math.isclose(first["params"]["learning_rate"], retrain["learning_rate"], rel_tol=1e-9):
        problems.append(
            f"{name} trained at learning rate {first['params']['learning_rate']:g}, not at the planned "
            f"{retrain['learning_rate']:g}"
        )
    return problems


def _final_text(verdicts: list[Event]) -> str:
    """Return the last attempt's verdict and the final one, each with its error; empty without a final verdict."""
    if not is_final(verdicts[-1]):
        return ""
    first = next((v for v in reversed(verdicts) if not is_final(v) and v["attempt"] == verdicts[-1]["attempt"]), None)
    shown = [f"{v['verdict']} ({_error_text(v)})" for v in (first, verdicts[-1]) if v is not None]
    on_set = attempt_of(verdicts[-1])[1] == EVALUATION
    where = "the evaluation set" if on_set else "a second draw that no attempt has seen"
    return f"; verdicts on the attempts' clips and on {where}: {', '.join(shown)}"


def _error_text(verdict: Event) -> str:
    value = (verdict.get("measures") or {}).get("mse")
    return "no error was measured" if value is None else f"error {value:.4f}"


def reconstruction(verdict: Event) -> float | None:
    """Return the tokenizer's own reconstruction error on the gate's clips; None when it was not measured."""
    value = (verdict.get("measures") or {}).get("tokenizer_recon_mse")
    return float(value) if isinstance(value, int | float) else None
