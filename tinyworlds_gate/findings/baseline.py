"""The finding on the comparison with the accepted baseline (G9)."""

from __future__ import annotations

from tinyworlds_gate.findings.base import Events, Finding, follows, no_occasion, not_run
from tinyworlds_gate.findings.inference import NO_INFERENCE, last_gate_conditions
from tinyworlds_gate.names import FAIL, PASS
from tinyworlds_gate.run.attempts import attempt_of
from tinyworlds_gate.run.journal import last_event

BETTER, SAME, NOT_COMPARABLE = "BETTER", "SAME", "NOT-COMPARABLE"
ALLOWED = {"not worse": (BETTER, SAME), "better": (BETTER,)}
"""What a run requires → the verdicts of the comparison that meet it."""


def accepted_baseline(events: Events) -> Finding:
    """G9: the last attempt was compared with the baseline, with the verdict that the options require."""
    options = (events[0].get("options") if events else None) or {}
    compared, last = last_event(events, "baseline_compared"), last_event(events, "gate_verdict")
    if compared is None and "baseline" not in options:
        return no_occasion("G9", "no --baseline was given")
    if last is None:
        return not_run("G9", NO_INFERENCE)
    if compared is None or attempt_of(compared) != attempt_of(last):
        return not_run("G9", "the last attempt was not compared with the baseline")
    required, sentence = compared.get("required"), str(compared.get("sentence"))
    evidence = str((compared.get("baseline") or {}).get("path") or "") or None
    if required is None:
        return no_occasion("G9", f"neither --fail-on worse nor --require-better was given; measured: {sentence}")
    if compared.get("verdict") in ALLOWED.get(str(required), ()):
        return Finding("G9", PASS, sentence, evidence)
    causes = [one for one in last_gate_conditions(events) if one.id in ("G1", "G5") and one.is_broken]
    if compared.get("verdict") == NOT_COMPARABLE and causes:
        return follows("G9", causes[0], sentence, evidence)
    return Finding("G9", FAIL, f"{required} than the baseline was required; {sentence}", evidence)
