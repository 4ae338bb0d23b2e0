"""Before anything trains: stale processes, git history, aligned configs (L1, L4, C1–C3, P3, P4).

pytest validation/ -m smoke -k preparation
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.findings.base import Finding, of
from tinyworlds_gate.findings.preparation import config_alignment, git_history, profile_numbers
from tinyworlds_gate.findings.processes import stale_processes

if TYPE_CHECKING:
    from tinyworlds_gate.loop.closed_loop import ClosedLoop


def test_nothing_stands_in_the_way_of_training(closed_loop: ClosedLoop) -> None:
    """Configs, checkpoints that were given, data and folders; a problem here is told before any training."""
    if closed_loop.problem is not None:
        pytest.fail(closed_loop.problem, pytrace=False)
    assert of(closed_loop.context.journal.events(), "dataset_ready")


@pytest.mark.requirement("L1")
def test_stale_training_processes_were_ended_first(closed_loop: ClosedLoop, findings_of: Callable[..., None]) -> None:
    findings_of(stale_processes(closed_loop.context.journal.events()))


@pytest.mark.requirement("C1", "C2", "C3")
def test_the_config_alignment_of_the_settings_files_holds(
    closed_loop: ClosedLoop, findings_of: Callable[..., None]
) -> None:
    findings_of(config_alignment(closed_loop.context.journal.events()))


@pytest.mark.requirement("L4")
def test_the_git_history_was_audited(closed_loop: ClosedLoop, findings_of: Callable[..., None]) -> None:
    findings_of(git_history(closed_loop.context.journal.events()))


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("P3", marks=pytest.mark.requirement("P3")),
        pytest.param("P4", marks=pytest.mark.requirement("P4")),
    ],
)
def test_the_shipped_profiles_hold_the_numbers_of_the_source(
    id: str, closed_loop: ClosedLoop, findings_of: Callable[..., None]
) -> None:
    profile = {"P3": "baseline", "P4": "longrun"}[id]
    root = closed_loop.context.layout.project_root
    findings: list[Finding] = [profile_numbers(id, resolve_settings(profile, {}, project_root=root))]
    findings_of(findings)
