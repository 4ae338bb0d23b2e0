"""The first minute on the page (A8): which data, clips and checkpoints, what was tried again, where the files are.

Run: pytest tests/unit/reports/test_glance.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import journal_samples as samples
from tests.helpers.journal_samples import SAMPLES, STAMP, SampleRun
from tests.unit.reports.test_page import page_of
from tinyworlds_gate.reports.glance import Line, glance
from tinyworlds_gate.reports.model import load_record


def lines_of(run: SampleRun) -> dict[str, Line]:
    return {line.label: line for line in glance(load_record(run.root, run.folder))}


@pytest.mark.requirement("A8")
@pytest.mark.parametrize("sample", list(SAMPLES))
def test_every_kind_of_run_answers_the_five_questions(tmp_path: Path, sample: str) -> None:
    run = SAMPLES[sample](tmp_path)
    lines = glance(load_record(run.root, run.folder))
    labels = [line.label for line in lines if line.label != "Effective training time"]
    assert labels[1:] == ["Measured on", "Checkpoints", "Tried again", "Files"]
    assert all(line.text or line.links for line in lines)
    text = page_of(run)
    assert text.index("the run") < text.index('<dl class="glance">') < text.index("What to do next")


@pytest.mark.requirement("A8")
def test_a_run_that_retried_says_so_and_names_the_clips_and_checkpoints_of_its_verdict(tmp_path: Path) -> None:
    lines = lines_of(samples.passing_after_retry(tmp_path))
    assert lines["Tried again"].text == "dynamics retrained 1 time after a failed gate"
    assert "a second draw that no retry has seen" in lines["Measured on"].text
    assert lines["Measured on"].text.endswith("strict autoregressive (3 steps fed back) (attempt 2, final draw)")
    assert [name.rpartition("_step_")[0] for name, _ in lines["Checkpoints"].links] == list(samples.STAGES)
    assert lines["Checkpoints"].text == ""


def test_a_run_that_ended_early_says_what_is_missing(tmp_path: Path) -> None:
    lines = lines_of(SampleRun(tmp_path))
    assert lines["Trained on"].text.startswith("nothing: the run ended before its frames were ready")
    assert lines["Measured on"].text == "nothing: no inference attempt was measured"
    assert lines["Checkpoints"].text == "none: no chunk of this run left one"
    assert lines["Tried again"].text == "nothing: every step succeeded the first time"


def test_the_files_are_links_from_the_pages_folder(tmp_path: Path) -> None:
    text = page_of(samples.passing(tmp_path), tmp_path / "docs" / "action")
    shown = text[text.index("<dt>Files</dt>") : text.index("</dl>")]
    assert 'href="../../results/smoke_sample"' in shown
    assert f'href="train-to-inference-report-{STAMP}.md"' in shown
    assert 'href="#twg-files"' in shown


@pytest.mark.requirement("A8")
def test_the_evaluation_set_is_named_with_its_digest(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train().infer(1, 0.02)
    ready = next(event for event in run.events if event["event"] == "dataset_ready")
    own = ("seq", "time")
    evaluation = {"path": "data/evaluation.h5", "sha256": "e" * 64}
    run.add(**{**{key: value for key, value in ready.items() if key not in own}, "evaluation": evaluation})
    verdict = next(event for event in run.events if event["event"] == "gate_verdict")
    run.add(**{**{key: value for key, value in verdict.items() if key not in own}, "draw": 3})
    text = lines_of(run)["Measured on"].text
    assert (
        "of the evaluation set data/evaluation.h5 (SHA-256 eeeeeeeeeeee…), which no training and no retry has seen"
        in text
    )


@pytest.mark.requirement("A8")
def test_small_errors_are_written_without_an_exponent(tmp_path: Path) -> None:
    text = page_of(samples.failing(tmp_path))
    cards = text[text.index('class="cards"') : text.index('<dl class="glance">')]
    assert "e-0" not in cards
