"""H7 of a target that restores weights only, and so restarts every training.

pytest tests/unit/findings/test_training_restarts.py
"""

from __future__ import annotations

import pytest

from tests.helpers.finding_events import STAGES, Event, event, gated, good_chunk, good_training, journal, started
from tinyworlds_gate.findings.training import absolute_steps

TOKENIZER, ACTIONS, DYNAMICS = STAGES
ALL = [*good_chunk(1, TOKENIZER), *good_chunk(2, ACTIONS), *good_chunk(3, DYNAMICS)]
RESTARTS = event("target_described", kind="fork", can={"resumes": False})
SHOWS = "a fork checkout restores weights only and restarts at step 0"
EMULATED = f"emulated: {SHOWS}, so each training that counts was one chunk from 0 to its target; none resumed"
UNSHOWN = f"{SHOWS}, so absolute resuming cannot be shown"


@pytest.mark.requirement("H7")
@pytest.mark.parametrize(
    ("events", "verdict", "reason"),
    [
        (journal(RESTARTS), "NOT-RUN", "no chunk was trained in this run"),
        (journal(RESTARTS, *ALL), "PASS", EMULATED),
        (journal(RESTARTS, started(1, DYNAMICS)), "NOT-RUN", f"{UNSHOWN}: no chunk counted"),
        (journal(RESTARTS, *ALL, started(9, DYNAMICS, 3, 4)), "PASS", EMULATED),
        (
            journal(
                RESTARTS,
                *(started(1, DYNAMICS, 1, 10, resumed_from=None), gated(1, DYNAMICS)),
                *(started(2, DYNAMICS, 0, 9, target_updates=10), gated(2, DYNAMICS)),
                *(started(3, DYNAMICS, resumed_from="x"), gated(3, DYNAMICS)),
            ),
            "NOT-RUN",
            f"{UNSHOWN}: chunk 1 (dynamics) trained updates 1 to 10 of 10; chunk 2 (dynamics) trained updates 0 to "
            f"9 of "
            "10; chunk 3 (dynamics) trained updates 0 to 10 of 10",
        ),
        (journal({**RESTARTS, "can": {"resumes": True}}, *good_training()[1:]), "PASS", None),
        (journal({**RESTARTS, "resuming": [DYNAMICS]}, *good_chunk(1, TOKENIZER)), "PASS", EMULATED),
        (
            journal({**RESTARTS, "resuming": [DYNAMICS]}, *good_chunk(1, TOKENIZER), *good_chunk(2, DYNAMICS)),
            *("PASS", f"dynamics: no occasion: every stage was one chunk from update 0, so nothing was resumed; the "
            f"other "
              f"stages: {EMULATED}"),
        ),
        (
            journal({**RESTARTS, "resuming": [DYNAMICS]}, started(1, TOKENIZER), *good_chunk(2, DYNAMICS)),
            *("NOT-RUN", f"{UNSHOWN}: no chunk counted"),
        ),
        (
            journal({**RESTARTS, "resuming": [DYNAMICS]}, *ALL, started(9, DYNAMICS, 3, 4)),
            "FAIL",
            "dynamics: chunk 9 (dynamics) started at update 3, but the stage was at update 10; the other stages: "
            f"{EMULATED}",
        ),
        (
            journal({**RESTARTS, "resuming": [DYNAMICS]}, *good_chunk(1, DYNAMICS)),
            *("NOT-RUN", "no occasion: every stage was one chunk from update 0, so nothing was resumed"),
        ),
    ],
)  # fmt: skip
def test_a_target_that_restarts_emulates_absolute_steps(events: list[Event], verdict: str, reason: str | None) -> None:
    found = absolute_steps(events)
    assert (found.verdict, found.reason if reason else None) == (verdict, reason)
