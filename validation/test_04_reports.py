"""The evidence that a pass requires (L9, L10, A1–A7, H4); the HTML page (A8) is checked when the session ends.

pytest validation/ -m smoke -k reports
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tinyworlds_gate.findings.reporting import artifacts, metric_analysis

if TYPE_CHECKING:
    from tinyworlds_gate.loop.closed_loop import ClosedLoop


@pytest.mark.requirement("L9", "A3", "A4")
def test_the_metrics_of_the_stages_were_analysed(
    closed_loop: ClosedLoop, reports: Mapping[str, Path], findings_of: Callable[..., None]
) -> None:
    findings_of(metric_analysis(closed_loop.context.journal.events(), closed_loop.context.layout.project_root))


@pytest.mark.requirement("L10", "H4", "A1", "A2", "A5", "A6", "A7")
def test_the_reports_of_this_run_are_there(
    closed_loop: ClosedLoop, reports: Mapping[str, Path], findings_of: Callable[..., None]
) -> None:
    findings_of(artifacts(closed_loop.context.layout))
