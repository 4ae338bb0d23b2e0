"""Findings on the preparation and the reports, and the finding itself (C1–C3, L4, P3, P4, L9, L10, A*, H4)."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.finding_events import NOTHING, Event, by_id, event, good_chunk, good_training, holds, journal
from tests.helpers.journal_samples import SampleRun, passing
from tinyworlds_gate.config.shipped import shipped_values
from tinyworlds_gate.findings.base import Finding, MissingFactError, finding
from tinyworlds_gate.findings.preparation import config_alignment, git_history, profile_values
from tinyworlds_gate.findings.reporting import RunFiles, artifacts, html_page, metric_analysis, plots
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.reports.page import summary_html
from tinyworlds_gate.reports.render import write_reports

DYNAMICS = "dynamics"


def test_a_finding_passes_only_without_problems_and_lists_all_of_them() -> None:
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
    values = shipped_values(REPOSITORY)
    own = checked(values, profile)
    holds(profile_values(own, id), "PASS", f"profile {profile} and this run: video_tokenizer .*; dynamics ")
    holds(
        profile_values(checked(values, "smoke"), id),
        "NOT-RUN",
        f"^no occasion: this run has the profile smoke, not {profile}$",
    )
    of_checkout = [*own, *journal(event("target_described", kind="tinyworlds"))]
    holds(profile_values(of_checkout, id), "NOT-RUN", "^no occasion: the stages of a checkout are trained with its own")
    for source, verdict in (("configs/dynamics.yaml", "FAIL"), ("option --init-batch-size", "PASS")):
        table = {"stages.dynamics.batch_size_per_gpu": {"value": 7, "source": source}}
        found = profile_values([*own, *journal(event("settings_resolved", settings=table))], id)
        holds(
            found, verdict, "batch_size_per_gpu of dynamics is 7 in this run" if verdict == "FAIL" else "and this run"
        )
    wrong = checked({**values, profile: values[other]})
    holds(profile_values(wrong, id), "FAIL", rf"batch_size_per_gpu of video_tokenizer is \d+ in profile {profile}; the")
    unreadable = checked({**values, profile: {"problem": "profile.yaml is broken"}})
    holds(profile_values(unreadable, id), "FAIL", f"profile {profile} cannot be read: profile.yaml is broken")
    holds(profile_values(NOTHING, id), "NOT-RUN", "the run stopped earlier")


def checked(profiles: dict[str, Any], profile: str = "smoke") -> list[Event]:
    return journal(event("run_started", profile=profile), event("config_checked", checks=[], profiles=profiles))


@pytest.mark.requirement("L9", "A3", "A4")
def test_the_analysis_counts_with_its_plots(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"x")

    def analysed(**fields: Any) -> list[Event]:
        whole = {"verdict": "PASS", "reason": "3 stages", "source": "local", "json": "a.json", "plots": ["one.png"]}
        return journal(event("wandb_analysis", **{**whole, **fields}))

    files = RunFiles(tmp_path, tmp_path / "results" / "r")
    holds(metric_analysis(analysed()), "PASS", "3 stages")
    holds(plots(analysed(), files), "PASS", r"1 plot\(s\) in \.")
    holds(plots(analysed(plots=["one.png", "two.png"]), files), "FAIL", r"missing plots: two\.png")
    off = analysed(verdict="NOT-RUN", reason="switched off", plots=[])
    assert (metric_analysis(off).verdict, plots(off, files).verdict) == ("NOT-RUN", "NOT-RUN")
    none = analysed(verdict="INVALID", reason="no rows", plots=[])
    holds(metric_analysis(none), "INVALID", "no rows")
    holds(plots(none, files), "INVALID", "follows from L9: no rows")
    holds(plots(analysed(plots=[]), files), "FAIL", "no plot: 3 stages")
    failed = [*good_chunk(3, DYNAMICS)[:2], event("stage_finished", stage=DYNAMICS, verdict="FAIL", reason="no more")]
    cut = metric_analysis([*journal(*failed), *none])
    assert (cut.verdict, cut.follows_from) == ("FAIL", "S3"), "a stage that broke off is the cause of its history"
    assert (metric_analysis(NOTHING).verdict, plots(NOTHING, files).verdict) == ("NOT-RUN", "NOT-RUN")


@pytest.mark.requirement("L10", "H4", "A1", "A2", "A3", "A5", "A6", "A7")
def test_a_report_that_is_not_there_fails_itself_and_the_whole(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train()
    run.infer(1, 0.012)
    found = by_id(artifacts(run.events, RunFiles(tmp_path, run.folder)))
    assert {"A1", "A2", "A3", "A5", "A6", "A7", "L10", "H4"} == set(found)
    for id in ("A1", "A5", "A6", "L10", "H4"):
        assert found[id].verdict == "FAIL", id
    holds(found["A2"], "NOT-RUN", "the history was not audited")
    holds(found["A7"], "PASS", r"inference_results_gt_vs_pred_\S+\.png is a whole PNG; 1 picture\(s\) in all")
    holds(found["H4"], "FAIL", "follows from A1: A1: .*train-to-inference-report.*the file does not exist; A5: ")
    assert (found["A1"].follows_from, found["H4"].follows_from, found["L10"].follows_from) == (None, "A1", "A1")


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    """A run with all its evidence, and its reports."""
    run = passing(tmp_path_factory.mktemp("project"))
    write_reports(run.root, run.folder)
    return run


def rows_without(run: SampleRun, name: str | None = None, **fields: Any) -> dict[str, Finding]:
    """Judge the reports of a run whose last event of a name has other fields."""
    events = copy.deepcopy(run.events)
    if name is not None:
        next(one for one in reversed(events) if one["event"] == name).update(fields)
    return by_id(artifacts(events, RunFiles(run.root, run.folder)))


@pytest.mark.requirement("L10", "H4")
def test_reports_that_are_all_there_are_listed(reported: SampleRun) -> None:
    found = rows_without(reported)
    assert {one.verdict for one in found.values()} == {"PASS"}
    holds(found["L10"], "PASS", "^A1, A2, A3, A5, A6, A4 exist$")
    holds(found["H4"], "PASS", "^A1, A5, A2, A3 exist$")
    assert found["L10"].evidence == "docs/action"
    assert str(found["H4"].evidence).startswith("docs/action/train-to-inference-report-")


@pytest.mark.requirement("L10", "H4", "A3")
def test_an_analysis_that_is_switched_off_fails_the_default_and_not_the_step(reported: SampleRun) -> None:
    reason = "switched off with --enable-wandb-analysis false"
    off: Event = {"verdict": "NOT-RUN", "reason": reason, "plots": [], "json": None}
    found = rows_without(reported, "wandb_analysis", **off)
    holds(found["A3"], "NOT-RUN", "^switched off with --enable-wandb-analysis false$")
    assert found["H4"] == Finding("H4", "FAIL", f"A3: {reason}")
    holds(found["L10"], "PASS", "^A1, A2, A5, A6 exist$")
    later = rows_without(reported, "wandb_analysis", **{**off, "reason": "the run stopped earlier"})
    holds(later["H4"], "NOT-RUN", "^no occasion: A3: the run stopped earlier; A1, A5, A2 exist$")
    holds(later["L10"], "PASS", "^A1, A2, A5, A6 exist$")


@pytest.mark.requirement("A8")
def test_the_page_is_the_one_that_the_session_or_the_journal_names(reported: SampleRun, tmp_path: Path) -> None:
    page = reported.folder / "page.html"
    files = RunFiles(reported.root, reported.folder, page)
    shown = page.relative_to(reported.root).as_posix()
    page.unlink(missing_ok=True)
    assert html_page(reported.events, files) == Finding("A8", "FAIL", f"{shown}: the page does not exist")
    body = "".join(summary_html(load_record(reported.root, reported.folder), page.parent))
    page.write_text(f"<html><title>{reported.run}</title><body>{body}</body></html>", encoding="utf-8")
    whole = html_page(reported.events, files)
    holds(whole, "PASS", r"page\.html opens, loads nothing and embeds 1 picture\(s\) of the last attempt$")
    assert whole.evidence == shown
    unnamed = [one for one in reported.events if one.get("id") != "A8"]
    named = [*unnamed, event("report_written", id="A8", path=shown)]
    assert html_page(named, replace(files, page=None)) == whole
    with pytest.raises(MissingFactError, match="the path of the HTML page"):
        html_page(unnamed, replace(files, page=None))
    off = html_page(reported.events, replace(files, page_expected=False))
    assert off == Finding("A8", "NOT-RUN", "by choice (-p no:html): pytest-html is switched off")


def test_good_chunks_are_what_the_helpers_say() -> None:
    """The tables above change one thing in journals that hold otherwise."""
    assert [one["event"] for one in good_chunk(1, DYNAMICS)] == ["chunk_started", "chunk_finished", "stage_gate"]
    assert [one["seq"] for one in good_training()] == list(range(16))
