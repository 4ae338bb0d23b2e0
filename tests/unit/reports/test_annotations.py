"""Error lines for GitHub: a line for each cause, escaped, at the place where a person has to look.

pytest tests/unit/reports/test_annotations.py
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.helpers.commands import REPOSITORY
from tests.helpers.finished_runs import record_of
from tests.helpers.journal_samples import NO_GPUS, SampleRun, failing, passing
from tinyworlds_gate.reports.annotations import MOST, annotation_lines, line_of

LINE = re.compile(r"::(error|warning) (?:file=([^,:]+),line=(\d+),)?title=([^:]*)::(.*)")
PROFILE = "configs/profiles/smoke/profile.yaml"


def parsed(lines: list[str]) -> list[tuple[str, ...]]:
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    return [one.groups(default="") for one in found if one]


def test_a_run_that_passed_has_none(tmp_path: Path) -> None:
    assert annotation_lines(record_of(passing(tmp_path))) == []


def test_the_limit_that_was_missed_is_a_line_of_the_profile(tmp_path: Path) -> None:
    run = failing(tmp_path)
    (tmp_path / PROFILE).parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / PROFILE, tmp_path / PROFILE)
    settings = {"profile.thresholds.max_mse": {"value": 0.03, "source": f"profile {PROFILE}"}}
    run.add("settings_resolved", settings=settings, files={}, thresholds={}, notes=[])
    lines = parsed(annotation_lines(record_of(run)))
    g5 = next(one for one in lines if "G5" in one[3])
    expected = (tmp_path / PROFILE).read_text().splitlines()
    assert expected[int(g5[2]) - 1].startswith("  max_mse: 0.03")
    assert (g5[0], g5[1], g5[4]) == ("error", PROFILE, "MSE 0.0384 > 0.03")


def test_an_exception_of_a_stage_is_a_line_of_the_project(tmp_path: Path) -> None:
    run = SampleRun(tmp_path, project_root="/srv/game").prepare()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train.py").write_text("x\n")
    tail = [
        '  File "/srv/game/scripts/train.py", line 41, in main',
        '  File "/srv/game/.venv/lib/torch.py", line 7, in forward',
        '  File "/etc/passwd", line 1, in x',
        "RuntimeError: shapes",
    ]
    run.start_chunk("video_tokenizer")
    run.finish_chunk("video_tokenizer", cause="runtime_error", log_tail=tail)
    run.finish_stage("video_tokenizer", verdict="FAIL", reason="It broke off.")
    run.require(S1=("FAIL", "video_tokenizer: It broke off."), **NO_GPUS).finish("failed", "FAIL: It broke off.")
    [line] = parsed(annotation_lines(record_of(run)))
    assert line[:3] == ("error", "scripts/train.py", "41")


def test_a_test_of_the_repository_is_the_place_of_its_requirement(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train().infer(1, 0.0187)
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "test_h.py").write_text("import x\n\n\ndef test_H3():\n    pass\n")
    run.require(H3=("FAIL", "The gate did not pass."), **NO_GPUS).finish("failed", "FAIL: no.")
    [line] = parsed(annotation_lines(record_of(run)))
    assert line[1:3] == ("validation/test_h.py", "4")


def test_text_of_a_run_cannot_end_its_line_or_add_a_command(tmp_path: Path) -> None:
    hostile = "50 % of\r\n::error file=a,line=1::x\n::set-output name=a::b\u2028, :"
    run = SampleRun(tmp_path).prepare().train().infer(1, 0.0187)
    run.require(G5=("FAIL", hostile), **NO_GPUS).finish("failed", f"FAIL: {hostile}")
    [line] = annotation_lines(record_of(run))
    assert line.startswith("::error title=tinyworlds_gate G5%3A FAIL::50 %25 of")
    assert not re.search(r"[\r\n\u2028]", line)


def test_at_most_as_many_as_github_shows_with_the_number_of_the_others(tmp_path: Path) -> None:
    broken = {f"S{n}": ("FAIL", f"reason {n}") for n in range(1, 6)} | {
        f"T{n}": ("FAIL", f"other {n}") for n in range(1, 8)
    }
    run = SampleRun(tmp_path).prepare().train().infer(1, 0.0187)
    run.require(**broken, **NO_GPUS).finish("failed", "FAIL: much.")
    lines = parsed(annotation_lines(record_of(run)))
    assert len(lines) == MOST
    assert lines[-1][4] == "3 more problems are in the report."


def test_requirements_with_one_reason_share_a_line_and_consequences_have_none(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train().infer(1, 0.0187)
    run.require(G5=("FAIL", "too high"), H3=("FAIL", "too high"), **NO_GPUS)
    fields = {"verdict": "FAIL", "reason": "follows from G5: too high", "evidence": None}
    run.add("requirement", id="L7", test="t", follows_from="G5", **fields)
    run.finish("failed", "FAIL: too high.")
    [line] = parsed(annotation_lines(record_of(run)))
    assert line[3] == "tinyworlds_gate G5 H3%3A FAIL"


def test_a_run_that_passed_but_is_worse_than_its_baseline_is_a_warning(tmp_path: Path) -> None:
    run = SampleRun(tmp_path).prepare().train().infer(1, 0.0187)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "baseline.json").write_text("{}")
    baseline = {"path": "docs/baseline.json", "sha256": "b" * 64}
    run.add("baseline_compared", schema=1, verdict="WORSE", sentence="WORSE: 31 % worse.", baseline=baseline)
    run.require(**NO_GPUS).finish("passed", "PASS: It passed.")
    [line] = parsed(annotation_lines(record_of(run)))
    assert line[:3] == ("warning", "docs/baseline.json", "1")


def test_files_are_named_from_the_workspace(tmp_path: Path) -> None:
    run = SampleRun(tmp_path / "game").prepare().train().infer(1, 0.0187)
    (tmp_path / "game" / "validation").mkdir()
    (tmp_path / "game" / "validation" / "test_h.py").write_text("def test_H3():\n    pass\n")
    run.require(H3=("FAIL", "The gate did not pass."), **NO_GPUS).finish("failed", "FAIL: no.")
    record = record_of(run)
    assert parsed(annotation_lines(record, (), tmp_path))[0][1] == "game/validation/test_h.py"
    assert parsed(annotation_lines(record, (), tmp_path / "elsewhere"))[0][1] == ""


@pytest.mark.parametrize(
    ("text", "line"), [("a:\n  b: 1\n", 2), ("a: {b: 1}\n", 1), ("a: 1\n", None), ("- a\n", None), ("a: [", None)]
)
def test_the_line_of_a_setting(text: str, line: int | None) -> None:
    assert line_of(text, ["a", "b"]) == line


def test_a_run_that_broke_off_has_one(tmp_path: Path) -> None:
    [line] = parsed(annotation_lines(record_of(SampleRun(tmp_path).prepare())))
    assert (line[0], line[3]) == ("error", "tinyworlds_gate%3A INVALID")
