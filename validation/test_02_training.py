"""The three gated stages (S1, S2, S3); the rules of their training are checked after the gate (test_04_training_rules).

pytest validation/ -m smoke -k training
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tinyworlds_gate.loop.closed_loop import ClosedLoop


@pytest.mark.parametrize(
    ("id", "stage"),
    [
        pytest.param("S1", "video_tokenizer", marks=pytest.mark.requirement("S1")),
        pytest.param("S2", "latent_actions", marks=pytest.mark.requirement("S2")),
        pytest.param("S3", "dynamics", marks=pytest.mark.requirement("S3")),
    ],
)
def test_the_stage_trains_to_its_target_and_passes_its_gate(
    id: str, stage: str, closed_loop: ClosedLoop, row_holds: Callable[[str], None]
) -> None:
    result = closed_loop.stage(stage)
    if result.verdict == "NOT-RUN":
        pytest.skip(f"NOT-RUN: {result.reason}")
    row_holds(id)
