"""The step that runs the gate: the run that it made is found, and the code under test cannot speak to the runner.

pytest tests/unit/github/test_session.py
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.helpers.journal_samples import SampleRun
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.github.session import page_of, run_gate, split_arguments

CHILD = """
import json, os, pathlib, sys
pathlib.Path("seen.json").write_text(json.dumps({"arguments": sys.argv[1:], "variables": dict(os.environ)}))
folder = pathlib.Path(os.environ["FOLDER"]) / "results" / "smoke_new"
if os.environ["FOLDER"] != "none":
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text("{}\\n")
print("::error::from the code under test")
sys.exit(int(os.environ["STATUS"]))
"""


def child(folder: Path) -> list[str]:
    """A command in place of pytest that makes a run and tells what it got."""
    path = folder / "child.py"
    path.write_text(CHILD)
    return [sys.executable, str(path)]


def variables(folder: str = ".", status: int = 0) -> dict[str, str]:
    secret = {name: "/x" for name in ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT", "GITHUB_TOKEN")}
    return {**os.environ, **secret, "FOLDER": folder, "STATUS": str(status), "GITHUB_STEP_SUMMARY": "s"}


def test_the_new_run_is_found_beside_an_earlier_one(tmp_path: Path) -> None:
    SampleRun(tmp_path, "smoke_old")
    done = run_gate(["-m", "smoke"], tmp_path, variables(status=1), child(tmp_path))
    assert (done.status, done.run) == (1, tmp_path / "results" / "smoke_new")
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["arguments"][:4] == ["--pyargs", "tinyworlds_gate.validation", "-m", "smoke"]


@pytest.mark.parametrize("words", [["--target-repo=there"], ["--output-root", "there"]])
def test_a_run_of_a_checkout_is_found_where_its_option_says(tmp_path: Path, words: list[str]) -> None:
    done = run_gate(words, tmp_path, variables("there"), child(tmp_path))
    assert done.run == tmp_path / "there" / "results" / "smoke_new"


def test_the_code_under_test_cannot_set_variables_or_outputs_of_the_job(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_gate([], tmp_path, variables(), child(tmp_path))
    seen = json.loads((tmp_path / "seen.json").read_text())["variables"]
    assert {name for name in seen if name.startswith("GITHUB_")} == {"GITHUB_STEP_SUMMARY"}
    lines = capfd.readouterr().out.splitlines()
    [stop] = [number for number, line in enumerate(lines) if line.startswith("::stop-commands::")]
    word = lines[stop].rpartition("::")[2]
    assert len(word) == 32
    assert stop < lines.index("::error::from the code under test") < lines.index(f"::{word}::")


@pytest.mark.parametrize(("status", "words"), [(4, "a settings file"), (5, "no test"), (3, "before")])
def test_without_a_run_the_reason_names_the_exit_status(tmp_path: Path, status: int, words: str) -> None:
    done = run_gate([], tmp_path, variables("none", status), child(tmp_path))
    assert done.run is None
    assert f"exit status {status}" in done.no_run_reason
    assert words in done.no_run_reason


def test_arguments_are_words_and_no_script() -> None:
    assert split_arguments("""-m smoke --video-config 'a b.yaml' $(id) `id` *""") == [
        *("-m", "smoke", "--video-config", "a b.yaml", "$(id)", "`id`", "*")
    ]
    with pytest.raises(GateError, match="Close the quotation"):
        split_arguments("-m 'smoke")


@pytest.mark.parametrize("name", ["../../etc/passwd", "docs/action/validation-x.html", "results/x.html"])
def test_only_a_page_in_its_place_is_uploaded(tmp_path: Path, name: str) -> None:
    run = SampleRun(tmp_path)
    run.add("report_written", id="A8", path=name)
    page = tmp_path / name
    if page.resolve().is_relative_to(tmp_path):
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("page")
    assert page_of(run.folder) == (page if name.startswith("docs/action/") else None)
    if name.startswith("docs/action/"):
        page.unlink()
        page.symlink_to("/etc/hostname")
        assert page_of(run.folder) is None
