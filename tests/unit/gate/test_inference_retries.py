"""The inference process is run again when its end says nothing of the model, and only so often.

pytest tests/unit/gate/test_inference_retries.py
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyworlds_gate.gate.inference_process import NextTry, next_try
from tinyworlds_gate.run.disk import DISK_FULL

CAUSES = ["ok", "out_of_memory", "killed", "runtime_error", "timeout", DISK_FULL]


@pytest.mark.requirement("L6", "H9")
def test_out_of_memory_halves_the_clips_at_once_down_to_one() -> None:
    seen, batch = [], 64
    while (further := next_try("out_of_memory", batch, 0, 0)) is not None:
        batch = further.batch_size
        seen.append(batch)
    assert seen == [32, 16, 8, 4, 2, 1]


@pytest.mark.requirement("L6")
def test_a_signal_from_outside_is_answered_with_the_same_batch_as_often_as_allowed() -> None:
    assert next_try("killed", 64, 0, 2) == NextTry(64, 1, "it was ended from outside and is run again")
    assert next_try("killed", 64, 2, 2) is None
    assert next_try("killed", 64, 0, 0) is None


@pytest.mark.requirement("L6")
@pytest.mark.parametrize("cause", ["ok", "runtime_error", "timeout", DISK_FULL])
def test_every_other_end_is_judged_without_a_retry(cause: str) -> None:
    assert next_try(cause, 64, 0, 5) is None


@pytest.mark.requirement("L6")
@settings(max_examples=100, deadline=None)
@given(batch=st.integers(1, 4096), max_kills=st.integers(0, 20), data=st.data())
def test_whatever_comes_the_tries_end(batch: int, max_kills: int, data: st.DataObject) -> None:
    tries, kills = 0, 0
    while (further := next_try(data.draw(st.sampled_from(CAUSES)), batch, kills, max_kills)) is not None:
        assert 1 <= further.batch_size <= batch
        batch, kills, tries = further.batch_size, further.kills, tries + 1
        assert tries <= 12 + max_kills
