"""Whether to merge, from a run's verdict and its comparison with the baseline (pure functions).

The sign and the words say the same, so that neither colour nor picture is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyworlds_gate.gate.verdict_words import LOOP_ONLY, OLDER_RULE
from tinyworlds_gate.names import DEGRADED, FAIL, INVALID, PASS
from tinyworlds_gate.reports.model import RunRecord
from tinyworlds_gate.run.journal import Event, last_event

MERGE, LOOK, STOP, NOTHING = "✅ Merge", "⚠️ Look before you merge", "❌ Do not merge", "❔ No verdict"
BETTER, SAME, WORSE, NOT_COMPARABLE = "BETTER", "SAME", "WORSE", "NOT-COMPARABLE"
AGAINST_BASELINE = {
    BETTER: "better than the baseline",
    SAME: "no difference from the baseline seen",
    WORSE: "worse than the baseline",
    NOT_COMPARABLE: "not comparable with the baseline",
}
LIMITS = {
    LOOP_ONLY: "the loop works, the model is not judged",
    OLDER_RULE: "passed a rule without G8",
}
UNENDED = {"interrupted": "the run was interrupted", "unfinished": "the run did not come to its end"}
INVALID_WORDS = "the evidence is missing or contradicts itself"
DEGRADED_WORDS = "a stage fell to one clip per GPU"


@dataclass(frozen=True)
class Advice:
    """What to do with the pull request: sign and words, and the verdict in plain words."""

    sign: str
    words: str

    @property
    def headline(self) -> str:
        """Return the first line of a comment."""
        return f"{self.sign}: {self.words}"


def comparison_of(record: RunRecord) -> Event | None:
    """Return the last comparison with the baseline; None: there was no baseline."""
    return last_event(record.events, "baseline_compared")


def advice_of(record: RunRecord) -> Advice:
    """Return whether to merge what this run has tested."""
    verdict, _ = record.verdict()
    compared = comparison_of(record)
    against = against_text(compared)
    if record.status in UNENDED:
        return Advice(NOTHING, UNENDED[record.status])
    if verdict in (FAIL, INVALID):
        why = INVALID_WORDS if verdict == INVALID else _what_failed(record, compared)
        return Advice(STOP, f"{verdict}, {why}")
    if verdict not in (PASS, DEGRADED):
        return Advice(NOTHING, f"{verdict}, the gate was not reached")
    doubts = [DEGRADED_WORDS] if verdict == DEGRADED else []
    doubts += [LIMITS.get(record.limit, record.limit)] if record.limit else []
    doubts += ["not a strict rollout"] if record.not_strict else []
    if compared is not None and compared.get("verdict") not in (BETTER, SAME):
        return Advice(LOOK, ", ".join([record.word(), *doubts, f"but {against}"]))
    parts = [record.word(), *doubts, *([against] if against else [])]
    return Advice(LOOK if doubts else MERGE, ", ".join(parts))


def against_text(compared: Mapping[str, Any] | None) -> str:
    """Return `better than the baseline`; empty without a comparison."""
    if compared is None:
        return ""
    return AGAINST_BASELINE.get(str(compared.get("verdict")), AGAINST_BASELINE[NOT_COMPARABLE])


def _what_failed(record: RunRecord, compared: Event | None) -> str:
    gate = record.last_attempt.verdict if record.last_attempt else None
    if gate is None:
        return "the run ended before the gate"
    if gate.get("verdict") not in (PASS, DEGRADED):
        return "the gate failed"
    if compared is not None and compared.get("verdict") == SAME and compared.get("required") == "better":
        return "not better than the baseline"
    if compared is not None and compared.get("verdict") not in (BETTER, SAME):
        return against_text(compared)
    return "the gate passed, but other requirements did not"
