"""What a report that is missing, or was not made, means for the rows that need all of them.

pytest tests/unit/findings/test_reporting.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.finding_events import NOTHING, STAGES, Event, event, finished, gated, journal, started
from tinyworlds_gate.findings import reporting
from tinyworlds_gate.findings.base import Finding, MissingFactError
from tinyworlds_gate.findings.reporting import RunFiles, html_page, metric_analysis, plots

DYNAMICS = STAGES[2]


def row(id: str, verdict: str = "PASS", reason: str = "r", **more: Any) -> Finding:
    return Finding(id, verdict, reason, **more)


@pytest.mark.requirement("L10", "H4")
@pytest.mark.parametrize(
    ("id", "rows", "missing", "found"),
    [
        ("H4", [row("A1"), row("A2")], (), row("H4", "PASS", "A1, A2 exist", evidence="docs")),
        ("L10", [row("A1"), row("A2")], ("A2",), row("L10", "PASS", "A1, A2 exist", evidence="docs")),
        (
            "H4",
            [row("A1"), row("A2", "FAIL", "gone"), row("A3", "INVALID", "old", follows_from="L9")],
            ("A2",),
            row("H4", "FAIL", "follows from A2: A2: gone; A3: old", follows_from="A2"),
        ),
        (
            "L10",
            [row("A3", "INVALID", "old", follows_from="L9"), row("A2", "NOT-RUN")],
            (),
            row("L10", "FAIL", "follows from L9: A3: old", follows_from="L9"),
        ),
        (
            "H4",
            [row("A1"), row("A3", "NOT-RUN", "it is switched off"), row("A2", "NOT-RUN", "x")],
            ("A2",),
            row("H4", "FAIL", "A3: it is switched off"),
        ),
        (
            "L10",
            [row("A1"), row("A3", "NOT-RUN", "it is switched off"), row("A2", "NOT-RUN", "x")],
            ("A2",),
            row("L10", "PASS", "A1 exist", evidence="docs"),
        ),
        ("L10", [row("A1"), row("A2", "NOT-RUN", "x")], ("A2",), row("L10", "NOT-RUN", "A2: x")),
        ("L10", [row("A1"), row("A2", "NOT-RUN", "x")], (), row("L10", "PASS", "A1 exist", evidence="docs")),
        ("H4", [row("A1"), row("A2", "NOT-RUN", "x")], (), row("H4", "NOT-RUN", "no occasion: A2: x; A1 exist")),
        ("H4", [row("A1"), row("A2", "NOT-RUN", "x")], ("A2",), row("H4", "NOT-RUN", "A2: x")),
    ],
)
def test_a_row_of_all_reports_follows_from_the_first_that_is_broken(
    id: str, rows: list[Finding], missing: tuple[str, ...], found: Finding
) -> None:
    assert reporting._all_of(id, {one.id: one for one in rows}, {name: ["m"] for name in missing}, "docs") == found


@pytest.mark.requirement("A1", "A2", "A3")
@pytest.mark.parametrize(
    ("id", "missing", "cause", "found"),
    [
        ("A1", (), None, row("A1", "PASS", "p exists and is about this run", evidence="p")),
        ("A1", ("a", "b"), None, row("A1", "FAIL", "a; b", evidence="p")),
        ("A2", ("a",), row("L4"), row("A2", "FAIL", "a", evidence="p")),
        ("A2", ("a",), row("L4", "FAIL"), row("A2", "FAIL", "follows from L4: a", evidence="p", follows_from="L4")),
        ("A2", (), row("L4", "FAIL"), row("A2", "PASS", "p exists and is about this run", evidence="p")),
        ("A2", ("a",), row("L4", "NOT-RUN", "why"), row("A2", "NOT-RUN", "why")),
        ("A2", (), row("L4", "NOT-RUN", "why"), row("A2", "PASS", "p exists and is about this run", evidence="p")),
        ("A3", (), row("L9", "NOT-RUN", "why"), row("A3", "NOT-RUN", "why")),
    ],
)
def test_a_report_is_there_or_its_cause_is_named(
    id: str, missing: tuple[str, ...], cause: Finding | None, found: Finding
) -> None:
    assert reporting._report(id, "p", {id: list(missing)} if missing else {}, cause) == found


@pytest.mark.requirement("A7")
def test_the_picture_of_a_run_is_that_of_its_last_inference() -> None:
    none = "inference was not run, so there is no picture of it"
    assert reporting._picture(NOTHING, {}) == row("A7", "NOT-RUN", none)
    made = [event("inference_finished", picture=picture) for picture in ("1.png", None, "2.png", "")]
    events = journal(event("inference_started"), *made)
    whole = row("A7", "PASS", "2.png is a whole PNG; 2 picture(s) in all", evidence="2.png")
    assert reporting._picture(events, {}) == whole
    assert reporting._picture(events, {"A7": ["a", "b"]}) == row("A7", "FAIL", "a; b")


def analysed(verdict: str = "PASS", **more: Any) -> Event:
    return event("wandb_analysis", **{"verdict": verdict, "reason": "r", "json": "a.json", "plots": [], **more})


FAILED = [started(1, DYNAMICS), finished(1, DYNAMICS), gated(1, DYNAMICS, "retune")]


@pytest.mark.requirement("L9", "A4")
def test_an_analysis_that_broke_off_follows_from_the_stage_that_failed(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, tmp_path / "results" / "a")
    stopped = "the metrics were not analysed: the run stopped earlier"
    assert metric_analysis(NOTHING) == row("L9", "NOT-RUN", stopped)
    assert plots(NOTHING, files) == row("A4", "NOT-RUN", stopped)
    assert metric_analysis(journal(analysed("FAIL"), analysed())) == row("L9", evidence="a.json")
    assert metric_analysis(journal(*FAILED, analysed())) == row("L9", evidence="a.json")
    assert metric_analysis(journal(analysed("FAIL"))) == row("L9", "FAIL", evidence="a.json")
    followed = row("L9", "FAIL", "follows from S3: r", evidence="a.json", follows_from="S3")
    assert metric_analysis(journal(*FAILED, analysed("INVALID"))) == followed
    assert plots(journal(*FAILED, analysed("FAIL")), files) == row(
        "A4", "FAIL", "follows from L9: follows from S3: r", follows_from="L9"
    )
    assert plots(journal(analysed()), files) == row("A4", "FAIL", "no plot: r")
    assert plots(journal(analysed("NOT-RUN", plots=None)), files) == row("A4", "NOT-RUN", "no plot: r")
    drawn = journal(analysed(plots=["p/1.png", "p/2.png"]))
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "1.png").touch()
    assert plots(drawn, files) == row("A4", "FAIL", "missing plots: p/2.png")
    (tmp_path / "p" / "2.png").touch()
    assert plots(drawn, files) == row("A4", "PASS", "2 plot(s) in p", evidence="p")


@pytest.mark.requirement("A8")
def test_a_page_that_is_switched_off_or_not_named(tmp_path: Path) -> None:
    off = RunFiles(tmp_path, tmp_path / "results" / "a", page_expected=False)
    assert html_page(NOTHING, off) == row("A8", "NOT-RUN", "by choice (-p no:html): pytest-html is switched off")
    with pytest.raises(MissingFactError, match="the path of the HTML page"):
        html_page(NOTHING, RunFiles(tmp_path, tmp_path / "results" / "a"))
