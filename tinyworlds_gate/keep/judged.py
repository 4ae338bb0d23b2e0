"""Which attempt a run's kept numbers are measured on (pure)."""

from __future__ import annotations

from tinyworlds_gate.names import EVALUATION, FINAL
from tinyworlds_gate.reports.model import Attempt, RunRecord

DRAW_WORDS = {EVALUATION: "the evaluation set", FINAL: "a second draw of held-out clips, which no attempt has seen"}


def judged_attempts(record: RunRecord) -> list[Attempt]:
    """Every attempt with a verdict, in order."""
    return [attempt for attempt in record.attempts if attempt.verdict is not None]


def kept_attempt(record: RunRecord) -> Attempt | None:
    """The final verdict of the last attempt: on the evaluation set, else on a second draw; else the attempt itself.

    A final verdict of an earlier attempt does not count: a later attempt was needed because it did not stand. None
    where nothing was judged.
    """
    judged = judged_attempts(record)
    last = [attempt for attempt in judged if attempt.number == max(one.number for one in judged)]
    return max(last, key=lambda attempt: attempt.draw, default=None)


def draw_told(attempt: Attempt) -> str:
    """Which clips, in words."""
    return DRAW_WORDS.get(attempt.draw, "the held-out clips of the attempts")
