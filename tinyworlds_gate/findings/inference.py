"""Findings on the inference gate: C4, L6, L7, G1–G8, H3."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinyworlds_gate.checkpoints.agreement import agreement_text
from tinyworlds_gate.findings.base import Events, Finding, MissingFactError, finding, follows, no_occasion, not_run
from tinyworlds_gate.gate.object_rule import rates_text
from tinyworlds_gate.gate.past_rule import past_text
from tinyworlds_gate.gate.verdict_words import without_word
from tinyworlds_gate.names import ATTEMPTS, FAIL, INVALID, NOT_RUN, PASS
from tinyworlds_gate.run.attempts import attempt_of, final_problems
from tinyworlds_gate.run.journal import events_of, last_event

Event = dict[str, Any]

NO_INFERENCE = "inference was not run"
CONDITIONS = ("G1", "G2", "G3", "G4", "G5")


def inference_run(events: Events) -> list[Finding]:
    """L6 and L7: every inference run finished, and got a verdict on its picture and its error."""
    started, verdicts = _attempts(events, "inference_started"), _attempts(events, "gate_verdict")
    if not started:
        return [not_run("L6", NO_INFERENCE), not_run("L7", NO_INFERENCE)]
    finished = events_of(events, "inference_finished")
    evidence = finished[-1].get("log") if finished else None
    # By attempt and draw, not by process: a killed or out-of-memory process is repeated under the same attempt.
    unfinished = sorted(started - _attempts(events, "inference_finished"))
    l6 = finding(
        "L6",
        [f"the inference run of {_name(attempt)} did not finish" for attempt in unfinished],
        f"{len(started)} inference run(s) finished; the last log is {evidence}",
        evidence,
    )
    unjudged = [f"{_name(attempt)} has no verdict" for attempt in sorted(started - verdicts)]
    unjudged += [
        f"the verdict of {_name(attempt_of(verdict))} has no condition {id}"
        for verdict in events_of(events, "gate_verdict")
        for id in ("G4", "G5")
        if not _with_id(verdict, id)
    ]
    picture = finished[-1].get("picture") if finished else None
    if unfinished and unjudged:
        return [l6, follows("L7", l6)]
    return [l6, finding("L7", unjudged, f"{len(verdicts)} verdict(s) on picture and error; last: {picture}", picture)]


def _attempts(events: Events, name: str) -> set[tuple[int, int]]:
    return {attempt_of(event) for event in events_of(events, name)}


def _name(attempt: tuple[int, int]) -> str:
    return f"attempt {attempt[0]}" if attempt[1] == ATTEMPTS else f"attempt {attempt[0]}, draw {attempt[1]}"


def _with_id(verdict: Event, id: str) -> list[dict[str, str]]:
    """Return the conditions `G5`, `G5.skill` … of one requirement."""
    return [one for one in verdict["conditions"] if one["id"].split(".")[0] == id]


def gate_conditions(events: Events, attempt: int, draw: int = ATTEMPTS) -> list[Finding]:
    """G1–G5 of one attempt or of the final verdict; stricter conditions of a profile belong to G5."""
    verdicts = [event for event in events_of(events, "gate_verdict") if attempt_of(event) == (attempt, draw)]
    if not verdicts:
        return [not_run(id, NO_INFERENCE) for id in CONDITIONS]
    verdict, finished = verdicts[-1], _finished(events, verdicts[-1])
    g1 = _condition("G1", verdict, finished)
    rest = [_condition(id, verdict, finished) for id in CONDITIONS[1:]]
    if g1.is_broken:  # a command that broke off wrote no statistics, picture or error
        rest = [follows(one.id, g1, one.reason) if one.is_broken and one.id != "G2" else one for one in rest]
    return [g1, *rest]


def last_gate_conditions(events: Events) -> list[Finding]:
    """G1–G5 of the run's last verdict."""
    last = last_event(events, "gate_verdict")
    if last is None:
        return [not_run(id, NO_INFERENCE) for id in CONDITIONS]
    return gate_conditions(events, *attempt_of(last))


def objects(events: Events) -> Finding:
    """G6 of the run's last verdict; NOT-RUN where the profile does not require it, with the measured rates."""
    last = last_event(events, "gate_verdict")
    if last is None:
        return not_run("G6", NO_INFERENCE)
    if "min_object_share" not in (last.get("thresholds") or {}):
        return no_occasion("G6", "an older version took the verdict, which did not measure it")
    if last["thresholds"]["min_object_share"] is not None:
        own = _condition("G6", last, {})
        causes = [one for one in last_gate_conditions(events) if one.id in ("G1", "G5") and one.is_broken]
        return follows("G6", causes[0], own.reason) if causes and own.is_broken else own
    record = (last.get("measures") or {}).get("objects")
    if record is None:
        return no_occasion("G6", "the profile does not require it")
    measured = record["no_occasion"] or f"measured: {rates_text(record)}"
    return no_occasion("G6", f"the profile does not require it; {measured}")


def past(events: Events) -> Finding:
    """G7 of the run's last verdict; NOT-RUN where the profile does not require it, with the measured factor."""
    last = last_event(events, "gate_verdict")
    if last is None:
        return not_run("G7", NO_INFERENCE)
    if "min_past_ratio" not in (last.get("thresholds") or {}):
        return no_occasion("G7", "an older version took the verdict, which did not measure it")
    if last["thresholds"]["min_past_ratio"] is not None:
        own = _condition("G7", last, {})
        causes = [one for one in last_gate_conditions(events) if one.id in ("G1", "G5") and one.is_broken]
        return follows("G7", causes[0], own.reason) if causes and own.is_broken else own
    record = (last.get("measures") or {}).get("past")
    if record is None:
        return no_occasion("G7", "the profile does not require it")
    measured = record["no_occasion"] or f"measured: {past_text(record)}"
    return no_occasion("G7", f"the profile does not require it; {measured}")


def strongest_baseline(events: Events) -> Finding:
    """G8 of the run's last verdict; NOT-RUN where the profile does not require it, with the measured skill."""
    last = last_event(events, "gate_verdict")
    if last is None:
        return not_run("G8", NO_INFERENCE)
    if "require_skill_strongest" not in (last.get("thresholds") or {}):
        return no_occasion("G8", "an older version took the verdict, which did not measure it")
    if last["thresholds"]["require_skill_strongest"]:
        own = _condition("G8", last, {})
        causes = [one for one in last_gate_conditions(events) if one.id in ("G1", "G5") and one.is_broken]
        return follows("G8", causes[0], own.reason) if causes and own.is_broken else own
    measures = last.get("measures") or {}
    skill, low = measures.get("skill_strongest"), measures.get("skill_strongest_low")
    if skill is None or low is None:
        return no_occasion("G8", "the profile does not require it")
    what = f"skill {skill:.2f} (95 % interval from {low:.2f}) against the {measures['strongest_baseline']}"
    return no_occasion("G8", f"the profile does not require it; measured: {what}")


def _finished(events: Events, verdict: Event) -> Event:
    matching = [one for one in events_of(events, "inference_finished") if attempt_of(one) == attempt_of(verdict)]
    return matching[-1] if matching else {}


def _condition(id: str, verdict: Event, finished: Event) -> Finding:
    """Return the worst of a requirement's conditions; INVALID where the journal contradicts one that holds."""
    conditions = _with_id(verdict, id)
    if not conditions:
        return Finding(id, INVALID, f"the verdict of attempt {verdict['attempt']} has no condition {id}")
    worst = min((c["verdict"] for c in conditions), key=(INVALID, FAIL, PASS, NOT_RUN).index)
    reason = "; ".join(c["reason"] for c in conditions if c["verdict"] == worst or worst == PASS)
    contradiction = CONTRADICTIONS.get(id, lambda verdict, finished: None)(verdict, finished)
    if worst == PASS and contradiction is not None:
        return Finding(id, INVALID, f"the condition holds ({reason}), but {contradiction}")
    return Finding(id, worst, reason)


def _exit_code(verdict: Event, finished: Event) -> str | None:
    code = finished.get("exit_code", 0)
    return None if code == 0 else f"the journal records exit code {code}"


def _picture(verdict: Event, finished: Event) -> str | None:
    return None if finished.get("picture", "not recorded") else "the journal names no picture of this attempt"


def _error(verdict: Event, finished: Event) -> str | None:
    """G5 in its own words: present, finite and at most max_mse."""
    measures, limit = verdict.get("measures") or {}, (verdict.get("thresholds") or {}).get("max_mse")
    if "mse" not in measures or limit is None:
        return None
    mse = measures["mse"]
    if mse is None or not math.isfinite(mse):
        return f"the measured error is {mse}"
    return f"the measured error {mse:.6g} is above max_mse {limit:g}" if mse > limit else None


CONTRADICTIONS: dict[str, Callable[[Event, Event], str | None]] = {"G1": _exit_code, "G4": _picture, "G5": _error}


def agreement(events: Events) -> Finding:
    """C4: the checkpoints that the last verdict measured agree with the configs and with each other.

    Raises:
        MissingFactError: the journal does not record the check.
    """
    last, checked = last_event(events, "gate_verdict"), last_event(events, "checkpoints_checked")
    if last is None and checked is None:
        return not_run("C4", NO_INFERENCE)
    if checked is None:
        raise MissingFactError("the check of the checkpoints against the configs")
    broken = [one for one in checked["checks"] if one["verdict"] != PASS]
    if broken:
        return Finding("C4", broken[0]["verdict"], "; ".join(one["reason"] for one in broken))
    conditions = [] if last is None else [one for one in _with_id(last, "C4") if one["verdict"] != PASS]
    if conditions:
        return Finding("C4", conditions[0]["verdict"], "; ".join(one["reason"] for one in conditions))
    digests = ", ".join(f"{stage} {str(sha256)[:12]}" for stage, sha256 in checked["checkpoints"].items())
    shown = "; ".join(one["reason"] for one in checked["checks"][:1])
    return Finding("C4", PASS, f"{agreement_text(one['reason'] for one in checked['checks'])} ({digests}): {shown}")


def gate_passed(events: Events) -> Finding:
    """H3: training is complete only when the inference gate passed."""
    last = last_event(events, "gate_verdict")
    if last is None:
        return not_run("H3", NO_INFERENCE)
    if last["verdict"] == PASS and (problems := final_problems(events)):
        return Finding("H3", INVALID, "; ".join(problems))
    sentence = last["sentence"] if last["verdict"] == INVALID else without_word(last["sentence"])
    if last["verdict"] == PASS:
        return Finding("H3", PASS, sentence)
    cause = failed_condition(events)
    if cause is None:
        return Finding("H3", FAIL, sentence)
    return Finding("H3", FAIL, f"follows from {cause.id}: {sentence}", follows_from=cause.id)


def failed_condition(events: Events) -> Finding | None:
    """Return the condition of the last verdict that broke first; None when all hold."""
    rows = [*last_gate_conditions(events), *_broken_agreement(events)]
    return next((one for one in rows if one.is_broken and one.follows_from is None), None)


def _broken_agreement(events: Events) -> list[Finding]:
    try:
        return [agreement(events)]
    except MissingFactError:
        return []
