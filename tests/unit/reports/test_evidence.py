"""Reports lead to their evidence: links, causes reported once, order of the main report, evidence that was lost.

Run: pytest tests/unit/reports/test_evidence.py
"""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest

from tests.helpers import journal_samples as samples
from tests.helpers.journal_samples import STAMP, SampleRun, failed_stage, single_stage
from tinyworlds_gate.plugin import html_page
from tinyworlds_gate.reports.artifact_names import evidence_of
from tinyworlds_gate.reports.causes import causes_first, causes_text
from tinyworlds_gate.reports.markdown import clean, escape, plain
from tinyworlds_gate.reports.missing import missing_reports
from tinyworlds_gate.reports.model import load_record
from tinyworlds_gate.reports.page import summary_html
from tinyworlds_gate.reports.render import write_reports
from tinyworlds_gate.reports.retrospective import next_steps
from tinyworlds_gate.run.layout import RunLayout

pytest_plugins = ["pytester"]

SHALLOW = "this is a shallow clone: run `git fetch --unshallow` and_again"
QUOTED = f"missing: A2 docs/action/x.md: it says INVALID: {SHALLOW}"
SECTIONS = [
    *("Requirements", "The run", "The inference gate", "Timeline", "Settings and where they came from"),
    *("Chunks: parameters and effective batch", "Changes during the run", "Checkpoints"),
    *("Processes that were ended", "Environment", "Other files of this run"),
]


def without_rendering_time(run: SampleRun) -> dict[str, str]:
    """Every markdown and JSON file of the run's reports, as it is written now."""
    write_reports(run.root, run.folder)
    files = sorted((run.root / "docs" / "action").glob("*.*"))
    return {path.name: re.sub(r"(?m)^Rendered .*", "", path.read_text(encoding="utf-8")) for path in files}


@pytest.mark.requirement("A1")
def test_the_main_report_has_verdict_requirements_timeline_parameters_checkpoints_environment_in_order(
    tmp_path: Path,
) -> None:
    run = samples.failing(tmp_path)
    text = write_reports(run.root, run.folder)["A1"].read_text(encoding="utf-8")
    assert re.findall(r"(?m)^## (.*)$", text) == SECTIONS
    assert text.index("**Verdict: FAIL**") < text.index("## Requirements")


@pytest.mark.requirement("A1", "A8")
def test_every_requirement_that_was_run_links_to_a_file_that_is_there_and_the_others_to_none(tmp_path: Path) -> None:
    run = samples.failing(tmp_path)
    path = write_reports(run.root, run.folder)["A1"]
    record = load_record(run.root, run.folder)
    rows = record.requirements()
    named = {row.id: evidence_of(row, record) for row in rows}
    assert {row.id for row in rows if row.verdict == "NOT-RUN"} == {id for id, file in named.items() if file is None}
    assert [file for file in named.values() if file and not (run.root / file).exists()] == []
    assert named["S1"] == f"docs/action/auto-training-loop-report-{STAMP}.md"
    data = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert {row["id"]: row["evidence"] for row in data["requirements"]} == named
    page = "".join(summary_html(record, path.parent))
    table = page[page.index('id="twg-requirements"') : page.index('id="twg-plots"')]
    for file in {file for file in named.values() if file}:
        assert f">{file.rsplit('/', 1)[-1].replace(f'-{STAMP}', '')}</a>" in table
    shown = re.findall(r"<b>(\w+)</b></td><td><span class=\"v ([A-Z-]+)\"", table)
    assert shown[:4] == [("G5", "FAIL"), ("H3", "FAIL"), ("L3", "NOT-RUN"), ("H6", "NOT-RUN")]
    assert all(f'id="{anchor}"' in page for anchor in re.findall(r'href="#([\w-]+)"', page))
    assert page.count('href="#twg-') == 6


@pytest.mark.requirement("A2", "A3")
@pytest.mark.parametrize("broken", [None, "{}", '{"schema": 1, "mode": "strict"}', "not JSON"])
def test_lost_evidence_stays_invalid_however_often_the_reports_are_written_again(
    tmp_path: Path, broken: str | None
) -> None:
    run = samples.passing(tmp_path)
    for name in (f"zelda-2025-git-evidence-{STAMP}.json", f"wandb-analysis-{STAMP}.json"):
        path = tmp_path / "docs" / "action" / name
        path.unlink() if broken is None else path.write_text(broken)
    first = without_rendering_time(run)
    assert "**Verdict: INVALID** — The file" in first[f"zelda-2025-git-evidence-{STAMP}.md"]
    assert "**Verdict: INVALID** — The file" in first[f"wandb-analysis-{STAMP}.md"]
    assert without_rendering_time(run) == first


@pytest.mark.requirement("A3")
def test_an_analysis_of_an_older_version_without_sources_and_run_ids_is_still_shown(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    path = tmp_path / "docs" / "action" / f"wandb-analysis-{STAMP}.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    for stage in data["per_stage"]:
        for key in ("wandb_runs", "source", "unreadable_rows", "repeated_steps"):
            stage.pop(key, None)
    path.write_text(json.dumps(data), encoding="utf-8")
    text = write_reports(run.root, run.folder)["A3"].read_text(encoding="utf-8")
    assert "**Verdict: PASS**" in text
    assert all(stage["sentence"][:20] in text for stage in data["per_stage"])


@pytest.mark.requirement("L10")
def test_rendering_again_leaves_markdown_and_json_byte_for_byte_but_for_the_time(tmp_path: Path) -> None:
    run = samples.failing(tmp_path)
    first = without_rendering_time(run)
    assert len(first) == 10
    assert without_rendering_time(run) == first
    assert all(json.loads(text)["schema"] == 1 for name, text in first.items() if name.endswith(".json"))


@pytest.mark.parametrize("text", [SHALLOW, "a | b <c> &amp; *d* [e](f) ~ $1 _g_", "- list", "# h", "1. x", "---"])
def test_a_sentence_read_back_out_of_a_report_is_as_it_was_written(text: str) -> None:
    assert plain(escape(text)) == clean(text)


@pytest.mark.requirement("H4")
def test_the_reason_of_a_missing_report_holds_no_marks_of_markdown(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    run.add("git_evidence", verdict="INVALID", reason=SHALLOW, year=2025, json=None)
    write_reports(run.root, run.folder)
    [(key, _, reason)] = missing_reports(run.root, run.folder)
    assert (key, reason) == ("A2", f"it says INVALID: {SHALLOW}")


def test_a_problem_that_others_quote_is_reported_once_with_those_that_follow() -> None:
    problems = [("L10", QUOTED), ("L4", SHALLOW), ("S1", "the loss rose"), ("H4", QUOTED), ("L4", SHALLOW)]
    assert causes_first(problems) == [(("L4", SHALLOW), ["L10", "H4"]), (("S1", "the loss rose"), [])]
    assert causes_text(problems, most=3) == f"L4: {SHALLOW} (L10, H4 follow from it); S1: the loss rose"
    assert causes_text(problems, most=1) == f"L4: {SHALLOW} (L10, H4 follow from it); and 1 more"


def test_short_reasons_inside_others_are_problems_of_their_own() -> None:
    problems = [("G5", "failed"), ("H3", "the gate failed")]
    assert [entry[0] for entry in causes_first(problems)] == problems


@pytest.mark.requirement("A8")
def test_a_journal_that_cannot_be_read_costs_the_banner_and_not_the_page(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    journal = run.folder / "journal.jsonl"
    journal.write_text('{"seq": 0, "event": "<b>other</b>"}\n' + journal.read_text(encoding="utf-8"), encoding="utf-8")
    [fragment] = html_page.summary(RunLayout(run.root, run.folder.name), None)
    assert "INVALID: the run has no valid result" in fragment
    assert "journal" in fragment
    assert "<b>other" not in fragment


@pytest.mark.requirement("A8")
@pytest.mark.parametrize("crash", ["raise KeyboardInterrupt", "raise SystemExit(3)", "raise RuntimeError('crash')"])
def test_the_page_is_written_with_its_rows_when_a_test_crashes_or_is_interrupted(
    pytester: pytest.Pytester, crash: str
) -> None:
    pytest.importorskip("pytest_html")
    pytester.makeini("[pytest]\nmarkers =\n    requirement(id): an ID\n")
    pytester.makeconftest('pytest_plugins = ["tinyworlds_gate.plugin"]')
    pytester.makepyfile(
        f"import pytest\n@pytest.mark.requirement('L4')\ndef test_before(): ...\ndef test_crash():\n    {crash}\n"
    )
    pytester.runpytest("--html=page.html", "-p", "no:cacheprovider", no_reraise_ctrlc=True)
    page = unescape((pytester.path / "page.html").read_text(encoding="utf-8"))
    assert 'col-requirements\\">L4</td>' in page


@pytest.mark.requirement("A5")
def test_the_next_step_names_the_cause_in_words_and_the_fix(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train().infer(1, 0.02).evidence()
    run.require(L4=("INVALID", SHALLOW), L10=("FAIL", QUOTED), H4=("FAIL", QUOTED))
    run.finish("invalid", "INVALID: the gate passed, but not everything around it")
    steps = next_steps(load_record(run.root, run.folder))
    assert steps[0] == f"Fix L4: {SHALLOW} This should also fix L10, H4."


@pytest.mark.requirement("A5")
@pytest.mark.parametrize(
    ("kind", "said"), [("smoke", "run the long profile: pytest -m longrun."), ("longrun", "keep results/run_1.")]
)
def test_a_run_that_passed_is_sent_on_and_a_long_one_not_to_itself(tmp_path: Path, kind: str, said: str) -> None:
    run = SampleRun(tmp_path, kind=kind).prepare().train().infer(1, 0.001, skill=0.7).evidence()
    run.require().finish("passed", "PASS: all of it")
    [step] = next_steps(load_record(run.root, run.folder))
    assert step.startswith("Nothing needs to be fixed.")
    assert step.endswith(said.replace("run_1", run.folder.name))


@pytest.mark.requirement("L10")
def test_after_a_single_stage_the_advice_is_the_next_stage(tmp_path: Path) -> None:
    tokenizer = single_stage(tmp_path / "a")
    [step] = next_steps(load_record(tokenizer.root, tokenizer.folder))
    assert step.startswith("Nothing needs to be fixed. Train the latent actions next: pytest -m smoke --only-stage lat")
    assert f"--video-checkpoint results/{tokenizer.run}/video_tokenizer/checkpoints" in step
    actions = single_stage(tmp_path / "b", "latent_actions")
    [step] = next_steps(load_record(actions.root, actions.folder))
    assert "--only-stage dynamics" in step
    assert f"--latent-checkpoint results/{actions.run}/latent_actions/checkpoints" in step


@pytest.mark.requirement("A4")
def test_after_a_failed_stage_the_advice_names_its_curves(tmp_path: Path) -> None:
    run = failed_stage(tmp_path)
    steps = next_steps(load_record(run.root, run.folder))
    assert steps[0] == "Fix S1: video_tokenizer: The retune budget is spent."
    curves = next(step for step in steps if step.startswith("Look at the curves of video_tokenizer: "))
    named = curves.removeprefix("Look at the curves of video_tokenizer: ").rstrip(".").split(", ")
    assert any(path.endswith("video_tokenizer_loss.png") for path in named)
    assert all((run.root / path).is_file() for path in named)
    assert not any("start" in step and "again" in step for step in steps)
