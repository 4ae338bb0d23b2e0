"""Findings on the preparation and the reports, and the finding itself (C1–C3, L4, P3, P4, L9, L10, A*, H4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.finding_events import NOTHING, Event, by_id, event, good_chunk, good_training, holds, journal
from tests.helpers.journal_samples import SampleRun
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.findings.base import Finding, finding
from tinyworlds_gate.findings.preparation import config_alignment, git_history, profile_numbers
from tinyworlds_gate.findings.reporting import artifacts, metric_analysis
from tinyworlds_gate.run.layout import RunLayout

DYNAMICS = "dynamics"


def test_a_finding_passes_only_without_problems_and_tells_all_of_them() -> None:
    assert finding("L1", ["", ""], "it holds") == Finding("L1", "PASS", "it holds")
    assert finding("L1", ["one", "", "two"], "it holds", "log") == Finding("L1", "FAIL", "one; two", "log")


@pytest.mark.requirement("C1", "C2", "C3", "L4")
def test_config_checks_and_the_git_audit_are_taken_as_they_were_made() -> None:
    checks = [{"id": "C1", "verdict": "FAIL", "reason": "two values"}, {"id": "C2", "verdict": "PASS", "reason": "one"}]
    assert config_alignment(journal(event("config_checked", checks=checks))) == [
        Finding("C1", "FAIL", "two values"),
        Finding("C2", "PASS", "one"),
    ]
    assert {one.verdict for one in config_alignment(NOTHING)} == {"NOT-RUN"}
    audited = journal(event("git_evidence", verdict="INVALID", reason="no repository", json="git_evidence.json"))
    assert git_history(audited) == Finding("L4", "INVALID", "no repository", "git_evidence.json")
    holds(git_history(NOTHING), "NOT-RUN", "the history was not audited")


@pytest.mark.requirement("P3", "P4")
@pytest.mark.parametrize(("id", "profile", "other"), [("P3", "baseline", "longrun"), ("P4", "longrun", "baseline")])
def test_the_shipped_profiles_hold_the_numbers_of_the_source(id: str, profile: str, other: str) -> None:
    shipped = resolve_settings(profile, {}, project_root=REPOSITORY)
    holds(profile_numbers(id, shipped), "PASS", f"profile {shipped.profile.name} holds the source's numbers")
    wrong = resolve_settings(other, {}, project_root=REPOSITORY)
    holds(profile_numbers(id, wrong), "FAIL", r"video_tokenizer of profile .* has \(.*the source states \(")


@pytest.mark.requirement("L9", "A3", "A4")
def test_the_analysis_counts_with_its_plots(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"x")

    def analysed(**fields: Any) -> list[Event]:
        whole = {"verdict": "PASS", "reason": "3 stages", "source": "local", "json": "a.json", "plots": ["one.png"]}
        return journal(event("wandb_analysis", **{**whole, **fields}))

    found = by_id(metric_analysis(analysed(), tmp_path))
    assert {one.verdict for one in found.values()} == {"PASS"}
    assert (found["A4"].reason, found["L9"].evidence) == ("1 plot(s)", "a.json")
    gone = by_id(metric_analysis(analysed(plots=["one.png", "two.png"]), tmp_path))
    holds(gone["A4"], "FAIL", r"the plots two\.png are not there")
    off = metric_analysis(analysed(verdict="NOT-RUN", reason="switched off", plots=[]), tmp_path)
    assert {one.verdict for one in off} == {"NOT-RUN"}
    none = by_id(metric_analysis(analysed(verdict="INVALID", reason="no rows", plots=[]), tmp_path))
    assert {id: one.verdict for id, one in none.items()} == dict.fromkeys(("L9", "A3", "A4"), "INVALID")
    assert {one.verdict for one in metric_analysis(NOTHING, tmp_path)} == {"NOT-RUN"}


@pytest.mark.requirement("L10", "H4", "A1", "A2", "A5", "A6", "A7")
def test_a_report_that_is_not_there_fails_itself_and_the_whole(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train()
    run.infer(1, 0.012)
    found = by_id(artifacts(RunLayout(tmp_path, run.run)))
    assert {"A1", "A2", "A5", "A6", "A7", "L10", "H4"} == set(found)
    for id in ("A1", "A2", "A5", "A6", "L10", "H4"):
        assert found[id].verdict == "FAIL", id
    holds(found["H4"], "FAIL", "missing: .*A1")


def test_good_chunks_are_what_the_helpers_say() -> None:
    """The tables above change one thing in journals that hold otherwise."""
    assert [one["event"] for one in good_chunk(1, DYNAMICS)] == ["chunk_started", "chunk_finished", "stage_gate"]
    assert [one["seq"] for one in good_training()] == list(range(16))
