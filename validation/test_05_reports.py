"""The evidence that a pass requires (L9, L10, A1–A8, H4), and the optional watch (M4).

pytest validation/ -m smoke -k reports
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("L9", marks=pytest.mark.requirement("L9")),
        pytest.param("A3", marks=pytest.mark.requirement("A3")),
        pytest.param("A4", marks=pytest.mark.requirement("A4")),
    ],
)
def test_the_metrics_of_the_stages_were_analysed(
    id: str, reports: Mapping[str, Path], row_holds: Callable[[str], None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("A1", marks=pytest.mark.requirement("A1")),
        pytest.param("A2", marks=pytest.mark.requirement("A2")),
        pytest.param("A5", marks=pytest.mark.requirement("A5")),
        pytest.param("A6", marks=pytest.mark.requirement("A6")),
        pytest.param("A7", marks=pytest.mark.requirement("A7")),
    ],
)
def test_a_report_of_this_run_exists(id: str, reports: Mapping[str, Path], row_holds: Callable[[str], None]) -> None:
    row_holds(id)


@pytest.mark.parametrize(
    "id",
    [
        pytest.param("L10", marks=pytest.mark.requirement("L10")),
        pytest.param("H4", marks=pytest.mark.requirement("H4")),
    ],
)
def test_all_reports_of_this_run_exist(id: str, reports: Mapping[str, Path], row_holds: Callable[[str], None]) -> None:
    row_holds(id)


@pytest.mark.parametrize("id", [pytest.param("A8", marks=pytest.mark.requirement("A8"))])
def test_the_html_page_opens_and_holds_its_pictures(
    id: str, reports: Mapping[str, Path], draft_page: Path | None, row_holds: Callable[[str], None]
) -> None:
    row_holds(id)


@pytest.mark.parametrize("id", [pytest.param("M4", marks=pytest.mark.requirement("M4"))])
def test_a_watch_from_another_terminal_saw_the_run_working(
    id: str, reports: Mapping[str, Path], row_holds: Callable[[str], None]
) -> None:
    row_holds(id)
