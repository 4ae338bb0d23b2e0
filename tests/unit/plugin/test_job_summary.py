"""The summary of a CI job: verdict, numbers, what did not pass, what to do, which files, on one screen.

pytest tests/unit/plugin/test_job_summary.py
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.helpers import journal_samples as samples
from tests.helpers.journal_samples import SampleRun
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.reports.render import write_reports
from tinyworlds_gate.reports.summary import job_summary, no_run_summary

HOSTILE = "a|b\n# head <img src=x onerror=alert(1)> [link](javascript:x) `tick`"
GITHUBS_LIMIT = 1024 * 1024


def summary_of(run: SampleRun) -> str:
    return job_summary(load_record(run.root, run.folder))


def as_html(text: str) -> str:
    return str(MarkdownIt("commonmark").enable("table").render(text))


def rows(html: str) -> list[list[str]]:
    """The cells of every row of every table, as text."""
    found = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in found]


@pytest.mark.requirement("L10")
@pytest.mark.parametrize("sample", samples.SAMPLES)
def test_the_summary_of_every_kind_of_run_begins_with_its_verdict_and_its_tables_are_whole(
    tmp_path: Path, sample: str
) -> None:
    run = samples.SAMPLES[sample](tmp_path)
    record = load_record(run.root, run.folder)
    word, sentence = record.word(), record.verdict()[1]
    html = as_html(summary_of(run))
    first, second = map(unescape, re.findall(r"<(?:h2|p)>(.*?)</", html, re.DOTALL)[:2])
    assert (first, second.lower()) == (f"Closed loop: {word}", sentence.lower())
    assert {len(row) for row in rows(html)} <= {3, 4, 7}
    assert run.run in html


@pytest.mark.requirement("L8")
def test_every_attempt_has_its_row_and_what_failed_is_named_first(tmp_path: Path) -> None:
    table = rows(as_html(summary_of(samples.failing(tmp_path))))
    assert [row[:2] for row in table if len(row) == 7][1:] == [["1", "FAIL"], ["2", "FAIL"], ["3", "FAIL"]]
    open_rows = table[[row[0] for row in table].index("not passed") + 1 :]
    assert [row[:2] for row in open_rows] == [["G5", "FAIL"], ["H3", "FAIL"], ["L3 H6", "NOT-RUN"]]


def test_missing_evidence_is_named_with_its_path(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    missing = [("A2", tmp_path / "docs/action/zelda.md", "the file does not exist")]
    text = job_summary(load_record(run.root, run.folder), missing)
    assert "**Missing evidence**, which fails the run:" in text
    assert "- A2 `docs/action/zelda.md`: the file does not exist" in text


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    text = summary_of(samples.interrupted(tmp_path))
    assert "1. Resume it: pytest -m smoke --resume-run results/smoke_sample." in text


def test_hostile_text_of_the_journal_stays_text_and_no_secret_is_shown(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    secret = "hf_" + "q1W2e3R4t5Y6u7I8"
    run.require(C1=("FAIL", f"{HOSTILE} token={secret}"))
    run.finish("failed", HOSTILE)
    text = summary_of(run)
    html = as_html(text)
    assert secret not in text
    assert "<img" not in html
    assert "href=" not in html
    assert html.count("<h2>") == 1
    assert [row[:2] for row in rows(html) if "a|b" in row[-1]] == [["C1", "FAIL"]]


def test_the_summary_stays_small_whatever_the_journal_holds(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    for number in range(2, 300):
        run.add("gate_verdict", attempt=number, verdict="FAIL", sentence="z" * 1000, conditions=[], thresholds={})
    run.require(**{f"{group}{number}": ("FAIL", "x" * 100_000) for group in "CGST" for number in range(1, 5)})
    run.finish("failed", "y" * 100_000)
    text = summary_of(run)
    assert len(text.encode()) < GITHUBS_LIMIT / 20
    assert "| 299 | " in text
    assert "| 1 | " not in text


def test_a_job_without_a_run_says_why(tmp_path: Path) -> None:
    assert no_run_summary("No *room*.") == "## Closed loop: INVALID\n\nNo run was started. No \\*room\\*.\n"


def test_the_command_prints_the_summary_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = samples.passing(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["report", str(run.folder), "--summary"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("## Closed loop: PASS (before G8)\n\nMSE 0.0187 &lt;= 0.03")
    assert "- A1 `docs/action/train-to-inference-report-" in told
    assert sorted(tmp_path.rglob("*")) == before
    write_reports(tmp_path, run.folder)
    assert main(["report", str(run.folder), "--summary"]) == 0
    assert "Missing evidence" not in capsys.readouterr().out
