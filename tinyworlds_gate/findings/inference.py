"""The inference gate and what followed it: L6, L7, L8, G1–G5, H3, T5, T7."""

from __future__ import annotations

from typing import Any

from tinyworlds_gate.config.profile import RetryPlanConfig
from tinyworlds_gate.findings.base import FAIL, INVALID, PASS, Events, Finding, finding, not_run, of
from tinyworlds_gate.names import ATTEMPTS, EVALUATION
from tinyworlds_gate.run.attempts import attempt_of, final_problems, is_final
from tinyworlds_gate.stages.retune import plan_inference_retry, should_retrain

Event = dict[str, Any]

NO_INFERENCE = "inference was not run"


def inference_run(events: Events) -> list[Finding]:
    """L6 and L7: the inference run happened after training, and its results were judged."""
    started, verdicts = _attempts(events, "inference_started"), _attempts(events, "gate_verdict")
    if not started:
        return [not_run("L6", NO_INFERENCE), not_run("L7", NO_INFERENCE)]
    finished = of(events, "inference_finished")
    evidence = finished[-1].get("log") if finished else None
    # By attempt and draw, not by process: one that was killed, or that ran out of memory, is run again as what it was.
    first_problem = [] if _attempts(events, "inference_finished") == started else ["an inference run did not finish"]
    judged = [] if verdicts == started else [f"{len(started)} inference runs, but {len(verdicts)} verdicts"]
    return [
        finding("L6", first_problem, f"{len(finished)} inference run(s)", evidence),
        finding(
            "L7",
            judged,
            f"{len(verdicts)} verdict(s) over picture and error",
            finished[-1].get("picture") if finished else None,
        ),
    ]


def _attempts(events: Events, name: str) -> set[tuple[int, int]]:
    return {attempt_of(event) for event in of(events, name)}


def gate_conditions(events: Events, attempt: int, draw: int = ATTEMPTS) -> list[Finding]:
    """G1–G5 of one attempt, or of the final verdict; a profile's stricter conditions count into G5."""
    verdicts = [event for event in of(events, "gate_verdict") if attempt_of(event) == (attempt, draw)]
    if not verdicts:
        return [not_run(f"G{number}", NO_INFERENCE) for number in range(1, 6)]
    grouped: dict[str, list[dict[str, str]]] = {}
    for condition in verdicts[-1]["conditions"]:
        grouped.setdefault(condition["id"].split(".")[0], []).append(condition)
    findings = []
    for id, conditions in grouped.items():
        worst = min((c["verdict"] for c in conditions), key=(INVALID, FAIL, PASS).index)
        told = "; ".join(c["reason"] for c in conditions if c["verdict"] == worst or worst == PASS)
        findings.append(Finding(id, worst, told))
    return findings


def gate_passed(events: Events) -> Finding:
    """H3: training is complete only when the inference gate passed."""
    verdicts = of(events, "gate_verdict")
    if not verdicts:
        return not_run("H3", NO_INFERENCE)
    last = verdicts[-1]
    verdict = PASS if last["verdict"] == PASS else FAIL
    if verdict == PASS and (problems := final_problems(events)):
        return Finding("H3", INVALID, "; ".join(problems))
    return Finding("H3", verdict, last["sentence"].removeprefix(f"{verdict}: "))


def retraining(events: Events, retry: RetryPlanConfig, max_mse: float) -> list[Finding]:
    """L8, T5 and T7: a failed gate was answered by retraining as planned, and never where it could not help."""
    verdicts, retrains = of(events, "gate_verdict"), of(events, "dynamics_retrain")
    if not verdicts:
        return [not_run(id, NO_INFERENCE) for id in ("L8", "T5", "T7")]
    ladder = _ladder_problems(events, retry)
    rates = [plan.learning_rate for k in range(retry.max) if (plan := plan_inference_retry(k, 0, 1, retry))]
    planned = ", ".join(f"{rate:.3g}" for rate in rates) or "none"
    answered = [judged for plan in retrains if (judged := _newest_before(verdicts, plan)) is not None]
    t7 = finding(
        "T7",
        [
            f"dynamics was retrained after attempt {judged['attempt']} although the tokenizer alone is above "
            f"{max_mse:g}"
            for judged in answered
            if not should_retrain(_recon(judged), max_mse)
        ],
        f"tokenizer floor {_floor(verdicts[-1])} against max_mse {max_mse:g}: "
        f"{should_retrain(_recon(verdicts[-1]), max_mse).reason}",
    )
    attempts = [verdict for verdict in verdicts if not is_final(verdict)]
    told = (
        f"{len(retrains)} retraining(s) after {len(attempts)} attempt(s){_final_told(verdicts)}"
        if retrains
        else f"the first attempt passed; the ladder was ready (learning rates {planned}){_final_told(verdicts)}"
        if verdicts[-1]["verdict"] == PASS
        else "no retraining was possible or allowed"
    )
    problems = [*ladder, *final_problems(events)]
    if verdicts[-1]["verdict"] != PASS:
        return [Finding("L8", FAIL, f"the gate did not pass; {told}"), finding("T5", ladder, told), t7]
    return [finding("L8", problems, told), finding("T5", ladder, told), t7]


def _newest_before(verdicts: list[Event], plan: Event) -> Event | None:
    return next((verdict for verdict in reversed(verdicts) if verdict["seq"] < plan["seq"]), None)


def _final_told(verdicts: list[Event]) -> str:
    """Both verdicts of a run with a final one, with their errors."""
    if not is_final(verdicts[-1]):
        return ""
    first = next((v for v in reversed(verdicts) if not is_final(v) and v["attempt"] == verdicts[-1]["attempt"]), None)
    told = [f"{v['verdict']} ({_error(v)})" for v in (first, verdicts[-1]) if v is not None]
    on_set = attempt_of(verdicts[-1])[1] == EVALUATION
    where = "the evaluation set" if on_set else "a second draw that no attempt has seen"
    return f"; verdict on the attempts' clips and on {where}: {', '.join(told)}"


def _error(verdict: Event) -> str:
    value = (verdict.get("measures") or {}).get("mse")
    return "no error was measured" if value is None else f"error {value:.4f}"


def _ladder_problems(events: Events, retry: RetryPlanConfig) -> list[str]:
    problems = []
    for k, event in enumerate(of(events, "dynamics_retrain")):
        plan = plan_inference_retry(k, event["from_update"], event["from_update"], retry)
        if plan is None:
            problems.append(f"retry {k + 1} is beyond the budget of {retry.max}")
        elif abs(plan.learning_rate - event["learning_rate"]) > 1e-12 or plan.to_update != event["to_update"]:
            problems.append(
                f"retry {k + 1} used learning rate {event['learning_rate']:g} to update {event['to_update']}, "
                f"planned were {plan.learning_rate:g} and {plan.to_update}"
            )
    return problems


def _recon(verdict: dict[str, object]) -> float | None:
    measures = verdict.get("measures")
    value = measures.get("tokenizer_recon_mse") if isinstance(measures, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _floor(verdict: dict[str, object]) -> str:
    value = _recon(verdict)
    return "unknown" if value is None else f"{value:.4f}"
