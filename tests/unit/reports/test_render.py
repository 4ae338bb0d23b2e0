"""The written reports (A1, A2, A3, A5, A6): the sentences that matter, honest numbers, whole tables, no secrets.

Run: pytest tests/unit/reports/test_render.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.helpers import journal_samples as samples
from tests.helpers.journal_samples import SAMPLES, STAMP, SampleRun
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.reports.render import write_reports
from tinyworlds_gate.reports.requirements import REQUIREMENTS

HOSTILE = "a | b `c` <script>alert(1)</script> *x* [y](http://e.invalid) ``` \n# not a heading\n| --- |"
SECRET = "hf_" + "Zq8kT2vLwX9" * 3


def texts_of(run: SampleRun) -> dict[str, str]:
    return {key: path.read_text(encoding="utf-8") for key, path in write_reports(run.root, run.folder).items()}


def tables_of(text: str) -> list[list[list[Token]]]:
    """Each table as rows of inline cells, as a real markdown parser sees it."""
    tables: list[list[list[Token]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type == "inline" and tables and token.map and tables[-1] and token.level >= 4:
            tables[-1][-1].append(token)
    return tables


def cells(text: str, first: str) -> list[list[str]]:
    """The rows below the table header whose first cell is `first`."""
    for table in tables_of(text):
        if table[0] and table[0][0].content == first:
            return [[cell.content for cell in row] for row in table[1:]]
    raise AssertionError(f"no table starts with {first!r}")


@pytest.mark.requirement("A1", "A2", "A3", "A5", "A6")
def test_the_files_have_the_names_of_the_specification_and_json_beside_them(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    written = write_reports(run.root, run.folder)
    assert {key: path.relative_to(tmp_path).as_posix() for key, path in written.items()} == {
        "A1": f"docs/action/train-to-inference-report-{STAMP}.md",
        "A2": f"docs/action/zelda-2025-git-evidence-{STAMP}.md",
        "A3": f"docs/action/wandb-analysis-{STAMP}.md",
        "A5": f"docs/action/train-to-inference-retrospective-{STAMP}.md",
        "A6": f"docs/action/auto-training-loop-report-{STAMP}.md",
    }
    for path in written.values():
        data = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        assert data["schema"] == 1
        assert data["verdict"] == "PASS"


@pytest.mark.requirement("A1")
@pytest.mark.parametrize("sample", list(SAMPLES))
def test_the_verdict_sentence_comes_first_in_every_report(tmp_path: Path, sample: str) -> None:
    for key, text in texts_of(SAMPLES[sample](tmp_path)).items():
        third_line = text.splitlines()[2]
        assert re.fullmatch(
            r"\*\*Verdict: (PASS|PASS \(before G8\)|FAIL|DEGRADED|INVALID|NOT-RUN)\*\* — \S.*", third_line
        ), (
            key,
            third_line,
        )


@pytest.mark.requirement("A1")
def test_every_gate_number_of_the_report_equals_the_journals(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    measures: dict[str, Any] = next(e for e in run.events if e["event"] == "gate_verdict")["measures"]
    rows = cells(texts_of(run)["A1"], "what")
    shown = {row[0]: row[1] for row in rows}
    assert float(shown["MSE of the generated frames"]) == measures["mse"]
    assert float(shown["MSE of copying the last frame"]) == measures["copy_last_mse"]
    assert float(shown["95 % interval, upper end"]) == measures["mse_high"]
    scalars = [value for value in measures.values() if isinstance(value, float | int) and not isinstance(value, bool)]
    numbers = [float(value) for value in shown.values() if re.fullmatch(r"-?[\d.]+(e-?\d+)?", value)]
    assert sorted(numbers) == sorted(map(float, scalars))
    steps = cells(texts_of(run)["A1"], "step")
    assert [float(row[1]) for row in steps] == measures["mse_by_step"]
    assert [float(row[2]) for row in steps] == measures["copy_last_mse_by_step"]


@pytest.mark.requirement("P2", "H9")
def test_parameters_and_effective_batch_of_each_chunk_equal_the_journals(tmp_path: Path) -> None:
    run = samples.degraded(tmp_path)
    started = [event for event in run.events if event["event"] == "chunk_started"]
    rows = cells(texts_of(run)["A1"], "chunk")
    assert [(int(row[0]), row[1], int(row[4]), int(row[5]), int(row[7]), float(row[8])) for row in rows] == [
        (
            event["chunk"],
            event["stage"],
            event["params"]["batch_size_per_gpu"],
            event["params"]["gradient_accumulation_steps"],
            event["effective_batch"],
            event["params"]["learning_rate"],
        )
        for event in started
    ]


@pytest.mark.requirement("P2")
def test_an_effective_batch_that_contradicts_its_parts_is_called_out(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare()
    run.start_chunk("dynamics")
    line = (run.folder / "journal.jsonl").read_text().replace('"effective_batch": 32', '"effective_batch": 33')
    (run.folder / "journal.jsonl").write_text(line)
    assert "33 (contradiction: the parts give 32)" in texts_of(run)["A1"]


@pytest.mark.requirement("P1")
def test_each_setting_is_shown_with_its_origin(tmp_path: Path) -> None:
    rows = cells(texts_of(samples.passing(tmp_path))["A1"], "setting")
    assert ["max_mse", "0.03", "option --max-mse"] in rows
    assert ["patch_size", "8", "configs/profiles/smoke/training.yaml"] in rows


@pytest.mark.requirement("S5")
def test_the_thresholds_used_are_named(tmp_path: Path) -> None:
    assert ["video_tokenizer.continue_loss", "0.01"] in cells(texts_of(samples.passing(tmp_path))["A1"], "threshold")


def test_checkpoints_are_shown_with_their_whole_hashes(tmp_path: Path) -> None:
    rows = cells(texts_of(samples.passing(tmp_path))["A1"], "stage")
    assert [(row[0], row[3]) for row in rows] == [
        ("video_tokenizer", f"`{'1' * 64}`"),
        ("latent_actions", f"`{'2' * 64}`"),
        ("dynamics", f"`{'3' * 64}`"),
    ]


@pytest.mark.requirement("A6")
@pytest.mark.parametrize(("value", "shown"), [(True, "True"), (False, "False"), (None, "unknown")])
def test_each_gate_line_names_its_launcher_and_its_gpu_evidence(tmp_path: Path, value: bool | None, shown: str) -> None:
    run = SampleRun(tmp_path).prepare()
    run.start_chunk("video_tokenizer")
    run.finish_chunk("video_tokenizer", launcher_pid=4242, dual_gpu_ok=value)
    run.judge_chunk("video_tokenizer")
    [line] = [line for line in texts_of(run)["A6"].splitlines() if line.startswith("| 1 |")]
    assert f"launcher 4242 dual_gpu_ok {shown}" in line
    assert "S1 continue" in line


@pytest.mark.requirement("A6")
def test_a_crashed_chunk_shows_its_cause_and_the_end_of_its_log(tmp_path: Path) -> None:
    text = texts_of(samples.degraded(tmp_path))["A6"]
    assert "no gate: it ran out of memory" in text
    assert "```text\ntorch.OutOfMemoryError: CUDA out of memory\n```" in text


@pytest.mark.requirement("A6")
def test_a_chunk_that_does_not_count_says_why(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare()
    for reason in (None, "it exited with code 1 after 3.0 s: rank 1 was ended by SIGKILL"):
        run.start_chunk("video_tokenizer")
        run.finish_chunk("video_tokenizer", failure=None if reason is None else {"cause": "killed", "reason": reason})
    first, second = texts_of(run)["A6"].split("### Chunk ")[1:]
    assert "- Why: " not in first
    assert "- Why: it exited with code 1 after 3.0 s: rank 1 was ended by SIGKILL" in second


@pytest.mark.requirement("A6")
def test_the_time_of_a_chunk_is_shown_only_if_it_ended(tmp_path: Path) -> None:
    text = texts_of(samples.interrupted(tmp_path))["A6"]
    assert "- It finished after " in text
    assert "- It did not finish. Reason for the chunk: " in text


@pytest.mark.requirement("A5", "H9")
def test_the_retrospective_says_what_was_changed_and_whether_it_helped(tmp_path: Path) -> None:
    rows = cells(texts_of(samples.failing(tmp_path))["A5"], "where")
    assert [row[3] for row in rows] == [
        "It helped: MSE 0.0412 → 0.0371 (−0.0041). The next verdict: FAIL.",
        "It did not help: MSE 0.0371 → 0.0384 (+0.0013). The next verdict: FAIL.",
    ]
    assert "at learning rate 0.00035" in rows[1][2]


@pytest.mark.requirement("A5", "H8")
def test_a_degraded_run_names_its_stage_and_its_cause(tmp_path: Path) -> None:
    texts = texts_of(samples.degraded(tmp_path))
    sentence = "video_tokenizer had to fall to a batch of 1 per GPU. The cause: out of memory on GPU 0"
    assert sentence in texts["A5"]
    assert sentence in texts["A1"]
    assert "batch_size_per_gpu 2 → 1; effective batch 8 → 4" in texts["A5"]
    assert "- video_tokenizer: 8 → 4 (it changed)" in texts["A5"]


@pytest.mark.requirement("A5")
def test_a_teacher_forced_pass_says_that_it_is_not_a_strict_one(tmp_path: Path) -> None:
    texts = texts_of(samples.teacher_forced(tmp_path))
    assert "This is a teacher-forced result, not a strict one" in texts["A1"]
    assert "This is a teacher-forced result, not a strict one" in texts["A5"]
    assert "Run the gate again without --teacher-forced" in texts["A5"]


def test_a_strict_pass_does_not_speak_of_teacher_forcing(tmp_path: Path) -> None:
    assert "not a strict one" not in texts_of(samples.passing(tmp_path))["A5"]


@pytest.mark.requirement("A5", "T7")
def test_a_tokenizer_worse_than_the_limit_is_named_as_the_thing_to_mend_first(tmp_path: Path) -> None:
    text = texts_of(samples.tokenizer_floor(tmp_path))["A5"]
    assert "1. Improve the video tokenizer first: its reconstruction error 0.0387 is above the limit 0.03" in text
    assert "Train dynamics longer" not in text


@pytest.mark.requirement("A5")
def test_a_failed_run_with_a_good_tokenizer_advises_to_train_dynamics_longer(tmp_path: Path) -> None:
    assert "1. Train dynamics longer (--target-updates" in texts_of(samples.failing(tmp_path))["A5"]


@pytest.mark.requirement("A5")
def test_an_interrupted_run_says_how_far_it_came_and_what_to_do(tmp_path: Path) -> None:
    text = texts_of(samples.interrupted(tmp_path))["A5"]
    assert "The run was interrupted (SIGINT) while dynamics trained (chunk 3)." in text
    assert "- The inference gate was not reached." in text
    assert "1. Resume it: pytest -m smoke --resume-run results/smoke_sample." in text


@pytest.mark.requirement("A5")
def test_a_model_that_is_no_better_than_copying_is_named_a_risk(tmp_path: Path) -> None:
    assert "the model is not better than copying the last frame" in texts_of(samples.passing(tmp_path))["A5"]


@pytest.mark.requirement("A2")
def test_the_git_report_shows_the_selected_commits_and_the_changed_sizes(tmp_path: Path) -> None:
    text = texts_of(samples.passing(tmp_path))["A2"]
    assert [row[2] for row in cells(text, "commit")] == ["Align ZELDA backbone", "Add ZELDA"]
    [change] = cells(text, "key")
    assert (change[0], change[2], change[3]) == ("embed_dim", "32", "64")


@pytest.mark.requirement("A2")
def test_the_json_beside_the_git_report_holds_the_evidence_the_run_and_the_verdict(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    data = json.loads(write_reports(run.root, run.folder)["A2"].with_suffix(".json").read_text(encoding="utf-8"))
    assert (data["run"], data["kind"], data["verdict"]) == (run.run, "git-evidence", "PASS")
    assert data["sentence"] == data["reason"]
    assert [commit["subject"] for commit in data["selected"]] == ["Align ZELDA backbone", "Add ZELDA"]
    assert data["key_changes"][0]["new"] == "64"


@pytest.mark.requirement("A3", "A4")
def test_the_analysis_shows_each_stage_and_its_plots(tmp_path: Path) -> None:
    text = texts_of(samples.passing(tmp_path))["A3"]
    assert [row[0] for row in cells(text, "stage")] == ["video_tokenizer", "latent_actions", "dynamics"]
    links = re.findall(r"!\[[^]]*\]\(\.\./\.\./([^)]+)\)", text)
    assert len(links) == 11
    assert all((tmp_path / link).is_file() for link in links)


def test_every_link_to_a_report_leads_to_a_file(tmp_path: Path) -> None:
    text = texts_of(samples.passing(tmp_path))["A1"]
    links = re.findall(r"\]\(\.\./\.\./(docs/action/[^)]+)\)", text)
    assert len(set(links)) == 5
    assert all((tmp_path / link).exists() for link in links)


@pytest.mark.requirement("A2", "A3")
def test_evidence_that_was_never_gathered_is_not_run_and_never_a_pass(tmp_path: Path) -> None:
    texts = texts_of(samples.interrupted(tmp_path))
    assert "**Verdict: NOT-RUN** — The run ended before its git history was audited." in texts["A2"]
    assert "**Verdict: NOT-RUN** — The run ended before its stages were analysed." in texts["A3"]


@pytest.mark.requirement("A2")
def test_an_evidence_file_that_is_gone_makes_its_report_invalid(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    (tmp_path / f"docs/action/zelda-2025-git-evidence-{STAMP}.json").unlink()
    assert "**Verdict: INVALID** — The file docs/action/zelda-2025" in texts_of(run)["A2"]


def hostile_run(root: Path) -> SampleRun:
    """A journal whose every free text tries to break the page, and whose command holds a secret."""
    run = SampleRun(root, command=["pytest", "--note", HOSTILE, f"token={SECRET}"], options={"--note": HOSTILE})
    run.prepare()
    run.add(
        "settings_resolved", settings={HOSTILE: {"value": HOSTILE, "source": HOSTILE}}, thresholds={}, notes=[HOSTILE]
    )
    run.start_chunk("video_tokenizer", reason=HOSTILE)
    tail = ["```", HOSTILE, f"WANDB_API_KEY={SECRET}"]
    run.finish_chunk("video_tokenizer", cause="runtime_error", log_tail=tail, dual_gpu_reason=HOSTILE)
    run.add("retune", stage="video_tokenizer", chunk=1, id="T1", cause=HOSTILE, changes={}, effective_batch=[8, 8])
    run.finish_stage("video_tokenizer", verdict="FAIL", reason=HOSTILE)
    run.infer(1, 0.05)
    run.evidence(stages=())
    run.require(G5=("FAIL", HOSTILE))
    return run.finish("failed", f"{HOSTILE} token={SECRET}")


def test_hostile_text_breaks_no_table(tmp_path: Path) -> None:
    for key, text in texts_of(hostile_run(tmp_path)).items():
        for table in tables_of(text):
            assert len({len(row) for row in table}) == 1, (key, [cell.content for cell in table[0]])
        expected = text.count("\n| --- |") + text.startswith("| --- |")
        assert len(tables_of(text)) == expected, key


def test_hostile_text_becomes_no_html_no_heading_and_no_link(tmp_path: Path) -> None:
    for key, text in texts_of(hostile_run(tmp_path)).items():
        html = MarkdownIt("commonmark").enable("table").render(text)
        assert "<script" not in html, key
        assert 'href="http://e.invalid"' not in html, key
        assert not re.search(r"<h\d>not a heading", html), key


def test_hostile_text_is_still_readable_as_it_was_written(tmp_path: Path) -> None:
    html = MarkdownIt("commonmark").enable("table").render(texts_of(hostile_run(tmp_path))["A1"])
    assert "a | b `c` &lt;script&gt;alert(1)&lt;/script&gt; *x* [y](http://e.invalid)" in html


def test_no_secret_reaches_any_report_or_json(tmp_path: Path) -> None:
    run = hostile_run(tmp_path)
    assert SECRET in (run.folder / "journal.jsonl").read_text(encoding="utf-8")
    write_reports(run.root, run.folder)
    files = sorted((tmp_path / "docs" / "action").glob("*.*"))
    assert len(files) == 10
    assert [path.name for path in files if SECRET in path.read_text(encoding="utf-8")] == []


def test_rendering_again_changes_the_line_of_rendering_only(tmp_path: Path) -> None:
    run = samples.failing(tmp_path)
    first = texts_of(run)
    run.add("report_written", id="A1", path="docs/action/x.md")
    for key, text in texts_of(run).items():
        kept = [re.sub(r"^Rendered .*", "", line) for line in text.splitlines()]
        assert kept == [re.sub(r"^Rendered .*", "", line) for line in first[key].splitlines()], key


def test_json_beside_a_report_holds_the_numbers_of_the_journal(tmp_path: Path) -> None:
    run = samples.passing(tmp_path)
    path = write_reports(run.root, run.folder)["A1"].with_suffix(".json")
    data = json.loads(path.read_text(encoding="utf-8"))
    gate = next(event for event in run.events if event["event"] == "gate_verdict")
    assert data["measures"] == gate["measures"]
    assert data["run"] == run.run
    assert len(data["requirements"]) == len({row["id"] for row in data["requirements"]}) == len(REQUIREMENTS)


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "action").write_text("a file where the folder should be")
    with pytest.raises(GateError, match=r"Cannot write the report .*Make docs/action/ writable"):
        write_reports(run.root, run.folder)
