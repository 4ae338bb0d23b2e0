"""How an inference process that ended is run again. ``pytest tests/unit/gate/test_inference_process.py``"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tinyworlds_gate.gate.inference_process import InferenceChild, NextTry, next_try
from tinyworlds_gate.launch.cause import KILLED, OK, OUT_OF_MEMORY, RUNTIME_ERROR, TIMEOUT
from tinyworlds_gate.launch.child import ChildResult

ENDED = ChildResult(("python",), exit_code=3, signal=None, wall_s=2.5, pid=7, log=Path("x.log"), log_tail=("a", "b"))


@pytest.mark.requirement("L6")
@pytest.mark.parametrize(
    ("cause", "batch_size", "kills", "batch_size_next", "kills_next"),
    [
        (OUT_OF_MEMORY, 9, 1, 4, 1),
        (OUT_OF_MEMORY, 2, 0, 1, 0),
        (KILLED, 8, 0, 8, 1),
        (KILLED, 8, 1, 8, 2),
    ],
)
def test_memory_is_answered_by_half_the_batch_and_a_signal_by_another_try(
    cause: str, batch_size: int, kills: int, batch_size_next: int, kills_next: int
) -> None:
    found = next_try(cause, batch_size, kills, max_kills=2)
    assert found == NextTry(batch_size_next, kills_next, found.reason if found else "")
    said = {OUT_OF_MEMORY: f"batch_size {batch_size} → {batch_size_next}", KILLED: "it was ended from outside"}
    assert found is not None
    assert said[cause] in found.reason


@pytest.mark.requirement("L6")
@pytest.mark.parametrize(
    ("cause", "batch_size", "kills"),
    [(OUT_OF_MEMORY, 1, 0), (KILLED, 8, 2), (KILLED, 8, 3), (OK, 8, 0), (RUNTIME_ERROR, 8, 0), (TIMEOUT, 8, 0)],
)
def test_every_sequence_of_causes_ends(cause: str, batch_size: int, kills: int) -> None:
    assert next_try(cause, batch_size, kills, max_kills=2) is None


@pytest.mark.requirement("G1")
def test_the_journal_has_how_a_process_ended_and_of_a_failure_its_last_lines() -> None:
    failed = InferenceChild(ENDED, RUNTIME_ERROR, None).journal_fields()
    assert failed == {
        **{"exit_code": 3, "signal": None, "cause": RUNTIME_ERROR, "wall_s": 2.5, "extra_launchers": (), "ended": ()},
        "log_tail": ["a", "b"],
    }
    assert InferenceChild(replace(ENDED, exit_code=0), OK, None).journal_fields()["log_tail"] is None
    stopped = InferenceChild(replace(ENDED, exit_code=0, stopped="too long"), TIMEOUT, None)
    assert stopped.journal_fields()["log_tail"] == ["a", "b"]
