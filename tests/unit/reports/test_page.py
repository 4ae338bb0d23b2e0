"""The HTML page's fragments (A8): what a newcomer must find, escaped, with pictures inside, also in a real browser.

Run: pytest tests/unit/reports/test_page.py
"""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.helpers import journal_samples as samples
from tests.helpers.browser import measure_page
from tests.helpers.journal_samples import SAMPLES, STAMP, SampleRun
from tinyworlds_gate.reports import page
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.reports.page import PNG_SIGNATURE
from tinyworlds_gate.reports.summary import job_summary
from tinyworlds_gate.reports.verdict_picture import figure
from tinyworlds_gate.reports.verdict_picture.data import verdict_view

VOID = {"img", "br", "meta", "link", "hr"}


def page_of(run: SampleRun, page_dir: Path | None = None) -> str:
    return "".join(page.summary_html(load_record(run.root, run.folder), page_dir))


def document(fragments: str) -> str:
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return f"<!doctype html><html><head>{head}</head><body>{fragments}</body></html>"


class Balance(HTMLParser):
    """Checks that tags close in order, and gathers the text and the tags' names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.requirement("A8")
@pytest.mark.parametrize("sample", list(SAMPLES))
def test_the_fragments_of_every_kind_of_run_are_well_formed_and_begin_with_the_verdict(
    tmp_path: Path, sample: str
) -> None:
    run = SAMPLES[sample](tmp_path)
    record = load_record(run.root, run.folder)
    word, sentence = record.word(), record.verdict()[1]
    parsed = Balance(page_of(run))
    assert parsed.open == []
    text = " ".join(" ".join(parsed.words).split())
    assert text.index(f"{word}: the run") < text.index(sentence) < text.index("Inference attempts")


@pytest.mark.requirement("A8")
def test_a_failed_attempt_that_was_retrained_keeps_its_row_and_its_verdict(tmp_path: Path) -> None:
    text = page_of(samples.passing_after_retry(tmp_path))
    table = text[text.index("Inference attempts") : text.index("Changes during the run")]
    words = re.findall(r'class="v ([A-Z-]+)">([^<]+)', table)
    assert words == [("FAIL", "FAIL"), ("DEGRADED", "PASS (before G8)"), ("DEGRADED", "PASS (before G8)")]
    for shown in ("0.0341", "0.0262", "0.0271", "2, final draw", "on clips that no attempt has seen"):
        assert shown in table
    assert "The gate requires a rollout error of at most 0.03." in table


@pytest.mark.requirement("A8")
def test_pictures_of_all_attempts_and_all_plots_are_embedded(tmp_path: Path) -> None:
    text = page_of(samples.failing(tmp_path))
    assert text.count('src="data:image/png;base64,') == 3 + 11
    assert not re.search(r'src="(?!data:)', text)


@pytest.mark.requirement("A8")
def test_the_picture_of_the_last_verdict_comes_first(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train()
    for attempt in (1, 2):
        name = f"inference_results/gate_verdict_0{attempt}_{run.run}.png"
        run.infer(attempt, 0.05 if attempt == 1 else 0.02)
        (tmp_path / name).write_bytes(PNG_SIGNATURE + f"picture {attempt}".encode())
        run.add("verdict_picture", attempt=attempt, draw=1, picture=name, left_out=[], problem=None)
    text = page_of(run.evidence().finish())
    older, newest = (base64.b64encode(PNG_SIGNATURE + f"picture {attempt}".encode()).decode() for attempt in (1, 2))
    places = [text.index(one) for one in ("PASS (before G8): the run", newest, "Inference attempts", older)]
    assert places == sorted(places)
    assert text.count("data:image/png") == text.count("<img ") == 2 + 2 + 11
    assert 'alt="MSE 0.02 &lt;= 0.03 on 64 held-out clips."' in text


@pytest.mark.requirement("A8")
def test_a_picture_of_a_verdict_that_could_not_be_drawn_is_reported_with_the_reason(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train().infer(1, 0.02)
    run.add("verdict_picture", attempt=1, draw=1, picture=None, left_out=[], problem="OSError: <b>no room</b>")
    text = page_of(run.evidence().finish())
    shown = text[text.index("The verdict in one picture") : text.index("Inference attempts")]
    assert "(it could not be drawn: OSError: &lt;b&gt;no room&lt;/b&gt;)" in shown
    assert "<img" not in shown


@pytest.mark.requirement("A8")
def test_pictures_beyond_the_budget_are_linked_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MAX_ALL_PICTURES_BYTES", 1000)
    text = page_of(samples.passing(tmp_path))
    assert "data:image" not in text
    assert text.count("too large to embed: <a href=") == 1 + 11


def test_a_missing_picture_is_reported_and_not_a_broken_image(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    for picture in (tmp_path / "inference_results").glob("*.png"):
        picture.unlink()
    assert "the file is no longer there" in page_of(run)


def test_a_run_without_a_result_says_so_in_a_whole_sentence(tmp_path: Path) -> None:
    assert "INVALID: the run has no valid result" in page_of(samples.interrupted(tmp_path))


def test_links_lead_from_the_pages_folder_to_the_files(tmp_path: Path) -> None:
    text = page_of(samples.passing(tmp_path), tmp_path / "docs" / "action")
    assert f'href="train-to-inference-report-{STAMP}.md"' in text
    assert 'href="../../results/smoke_sample/journal.jsonl"' in text


def test_the_page_shows_data_checkpoints_and_next_steps(tmp_path: Path) -> None:
    text = " ".join(" ".join(Balance(page_of(samples.failing(tmp_path))).words).split())
    assert "CRAFTER: data/crafter_frames.h5 (SHA-256 dddddddddddd…), 32 episodes to train on, 8 held out" in text
    assert "results/smoke_sample/dynamics/checkpoints/dynamics_step_299" in text
    assert "3" * 64 in text
    assert "Train dynamics longer" in text


def test_requirements_that_did_not_pass_are_shown_before_the_whole_table(tmp_path: Path) -> None:
    text = page_of(samples.failing(tmp_path))
    first = text[text.index("2 FAIL, 2 NOT-RUN, 56 PASS.") : text.index("<details>")]
    assert re.findall(r"<b>([A-Z]\d+)</b>", first) == ["G5", "H3", "L3", "H6"]
    assert text.count("<b>G5</b>") == 2


def test_hostile_text_of_the_journal_stays_text(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)> \" ' {{ 7 * 7 }}"
    run = SampleRun(tmp_path, command=["pytest", hostile, "api_key=" + "s3cr3t" * 8]).prepare().train()
    run.infer(1, 0.05).require(G5=("FAIL", hostile)).finish("failed", hostile)
    text = page_of(run)
    parsed = Balance(text)
    assert "script" not in parsed.tags
    assert hostile in " ".join(parsed.words)
    assert "s3cr3t" not in text


@pytest.mark.requirement("A8")
@pytest.mark.parametrize("width_px", [1280, 400])
def test_a_real_browser_shows_the_verdict_and_the_pictures_without_sideways_scrolling(
    tmp_path: Path, width_px: int
) -> None:
    measured = measure_page(document(page_of(samples.failing(tmp_path))), width_px, tmp_path)
    assert measured["console"] == []
    assert "FAIL: the run failed" in measured["text"]
    assert len(measured["images"]) == 14
    assert all(natural_width > 0 and natural_height > 0 for natural_width, natural_height, _ in measured["images"])
    assert all(0 < shown <= width_px for *_, shown in measured["images"])
    assert measured["scroll_width"] <= width_px


def test_a_long_run_stays_below_ten_megabytes(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare()
    for _ in range(75):
        run.start_chunk("dynamics")
        run.finish_chunk("dynamics", final_loss=1.9)
        run.judge_chunk("dynamics")
    run.infer(1, 0.05)
    picture = tmp_path / f"inference_results/inference_results_gt_vs_pred_{STAMP}_1.png"
    for attempt in range(2, 14):
        run.infer(attempt, 0.05)
        name = tmp_path / f"inference_results/inference_results_gt_vs_pred_{STAMP}_{attempt}.png"
        name.write_bytes(picture.read_bytes().ljust(1_400_000, b"\0"))
    text = page_of(run.finish("failed", "The budget is spent."))
    assert 5_000_000 < len(text) < 10_000_000
    assert "too large to embed" in text


@pytest.mark.requirement("A8", "G8")
def test_only_a_model_that_beats_every_prediction_without_a_model_is_shown_in_green(tmp_path: Path) -> None:
    rule = {"max_mse": 0.03, "require_skill_strongest": False}
    for low, word, tone in ((0.2, "PASS", "PASS"), (-0.1, "PASS (loop only)", "DEGRADED")):
        run = SampleRun(tmp_path / word).prepare().train().infer(1, 0.01, skill=0.3, skill_strongest_low=low)
        event = run.events[-1]
        event["thresholds"] = rule
        lines = [json.dumps(one, ensure_ascii=False) for one in run.events]
        (run.folder / "journal.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        run.evidence().finish("passed", "PASS: the error is 0.01.")
        text = page_of(run)
        assert f'class="banner {tone}"' in text
        assert f"{word}: the run" in text
        assert f'<span class="v {tone}">{word}</span>' in text[text.index("Inference attempts") :]
        record = load_record(run.root, run.folder)
        assert record.word() == word
        assert job_summary(record).startswith(f"## Closed loop: {word}\n")
        view = verdict_view(event, "run", "smoke", [], "")
        drawn = [one.get_text() for one in figure.draw(view, 50).texts]
        assert ("(loop only)" in drawn) is (tone == "DEGRADED")
