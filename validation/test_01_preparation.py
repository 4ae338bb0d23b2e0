"""Before anything trains: stale processes, git history, aligned configs, shipped values (L1, L4, C1–C3, P3, P4).

pytest validation/ -m smoke -k preparation
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tinyworlds_gate.run.journal import events_of

if TYPE_CHECKING:
    from tinyworlds_gate.loop.closed_loop import ClosedLoop


def test_nothing_stands_in_the_way_of_training(closed_loop: ClosedLoop) -> None:
    """Configs, supplied checkpoints, data and folders; a problem is reported here, before any training."""
    misaligned = next((check for check in closed_loop.config_checks if check.verdict == "FAIL"), None)
    if misaligned is not None:
        pytest.skip(f"follows from {misaligned.id}: {misaligned.reason}")
    if closed_loop.problem is not None:
        pytest.fail(closed_loop.problem, pytrace=False)
    assert events_of(closed_loop.context.journal.events(), "dataset_ready")


@pytest.mark.parametrize("id", [pytest.param("L1", marks=pytest.mark.requirement("L1"))])
def test_stale_training_processes_were_ended_first(id: str, row_holds: Callable[[str], None]) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("C1", marks=pytest.mark.requirement("C1")),
        pytest.param("C2", marks=pytest.mark.requirement("C2")),
        pytest.param("C3", marks=pytest.mark.requirement("C3")),
    ],
)
def test_the_config_alignment_of_the_settings_files_holds(id: str, row_holds: Callable[[str], None]) -> None:
    """The run's copy, and configs/ of the project."""
    row_holds(id)


@pytest.mark.parametrize("id", [pytest.param("L4", marks=pytest.mark.requirement("L4"))])
def test_the_git_history_was_audited(id: str, row_holds: Callable[[str], None]) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("P3", marks=pytest.mark.requirement("P3")),
        pytest.param("P4", marks=pytest.mark.requirement("P4")),
    ],
)
def test_the_shipped_profiles_have_the_specified_numbers(id: str, row_holds: Callable[[str], None]) -> None:
    row_holds(id)
