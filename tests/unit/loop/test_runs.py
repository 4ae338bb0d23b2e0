"""`--resume-run unfinished` and `tinyworlds-gate runs`: which run is unfinished, by its journal alone (H7).

pytest tests/unit/loop/test_runs.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.finding_events import Event, event, journal, started
from tests.helpers.lock_holders import HOLDER
from tests.helpers.options_parsing import parsed
from tests.helpers.process_projects import first_line, running
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import GateError
from tinyworlds_gate.loop.runs import Choice, choose_unfinished, known_runs, why_unfinished
from tinyworlds_gate.plugin.options import resumed_run

pytest_plugins = ["pytester"]

START = event("run_started", run="smoke_1", kind="smoke", profile="smoke", options={}, timestamp="2026_01_01_00_00_00")
TRAINS = started(3, "dynamics")
STAGE_DONE = event("stage_finished", stage="dynamics", verdict="PASS")
INFERS = event("inference_started", attempt=2, draw=1)
JUDGED = event("gate_verdict", attempt=2, draw=1, verdict="FAIL")
REPORT = event("report_written", id="A1", path="docs/action/x.md")


def end(status: str) -> Event:
    return event("run_finished", status=status, sentence=f"It {status}.")


@pytest.mark.requirement("H7")
@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([START], "it was killed between two steps"),
        ([START, TRAINS], "it was killed while dynamics trained (chunk 3)"),
        ([START, TRAINS, STAGE_DONE], "it was killed between two steps"),
        ([START, INFERS], "it was killed during inference attempt 2"),
        ([START, JUDGED, event("dynamics_retrain", retry=0)], "it was killed before dynamics was retrained"),
        ([START, TRAINS, event("interrupted", signal="SIGTERM"), end("interrupted"), REPORT], None),
        ([START, TRAINS, end("failed"), REPORT], "it was stopped while dynamics trained (chunk 3)"),
        ([START, JUDGED, end("passed")], "it was killed before its reports were written"),
        ([START, JUDGED, end("failed"), REPORT, START, TRAINS], "it was killed while dynamics trained (chunk 3)"),
    ],
)
def test_a_run_without_its_end_is_unfinished_and_says_where_it_stopped(events: list[Event], why: str | None) -> None:
    messages = why_unfinished(journal(*events))
    assert messages == (why or "it was interrupted (SIGTERM) while dynamics trained (chunk 3)")


@pytest.mark.parametrize("status", ["passed", "degraded", "failed", "invalid", "partial"])
def test_a_run_that_came_to_a_verdict_and_was_reported_is_finished(status: str) -> None:
    assert why_unfinished(journal(START, TRAINS, STAGE_DONE, INFERS, JUDGED, end(status), REPORT)) is None


# Which one is chosen.


def write_run(root: Path, name: str, *events: Event, time: float = 0.0, **first: Any) -> Path:
    """A run's folder with a journal that begins at a time; `first` changes its first event."""
    folder = root / "results" / name
    folder.mkdir(parents=True)
    lines = [{"time": time, **one} for one in journal({**START, "run": name, **first}, *events)]
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


FINISHED = (JUDGED, end("failed"), REPORT)


def chosen(root: Path, kind: str | None = "smoke", **options: Any) -> Choice:
    return choose_unfinished(known_runs(root)[0], kind, options)


def name_of(choice: Choice) -> str | None:
    return None if choice.run is None else choice.run.name


def test_without_any_run_a_new_one_begins(tmp_path: Path) -> None:
    choice = chosen(tmp_path, seed=3)
    assert name_of(choice) is None
    assert choice.messages == [
        "no earlier run of this kind was started with these options (--seed 3): a new one begins"
    ]


@pytest.mark.requirement("H7")
def test_the_newest_run_is_gone_on_with_when_it_is_unfinished(tmp_path: Path) -> None:
    write_run(tmp_path, "smoke_b", *FINISHED, time=1.0)
    write_run(tmp_path, "smoke_a", TRAINS, time=2.0)
    choice = chosen(tmp_path)
    assert name_of(choice) == "smoke_a"
    assert choice.messages == [
        "smoke_a is unfinished (it was killed while dynamics trained (chunk 3)): going on with it",
    ]


def test_an_unfinished_run_that_a_later_one_replaced_is_left_alone(tmp_path: Path) -> None:
    write_run(tmp_path, "smoke_a", TRAINS, time=1.0)
    write_run(tmp_path, "smoke_b", *FINISHED, time=2.0)
    choice = chosen(tmp_path)
    assert name_of(choice) is None
    assert choice.messages[0] == "the newest run like this one, smoke_b, came to its end (failed): a new one begins"
    assert choice.messages[1].startswith("left alone: smoke_a, unfinished, a later run came after it; name it")


@pytest.mark.requirement("P1")
def test_a_run_with_other_options_is_left_alone(tmp_path: Path) -> None:
    write_run(tmp_path, "smoke_a", TRAINS, options={"seed": 3})
    assert name_of(chosen(tmp_path)) is None
    assert name_of(chosen(tmp_path, seed=4)) is None
    assert name_of(chosen(tmp_path, seed=3, resume_run="unfinished", project_root=".")) == "smoke_a"
    assert "left alone: smoke_a, unfinished, smoke, started with --seed 3" in chosen(tmp_path).messages[1]


def test_a_run_of_the_other_kind_is_left_alone(tmp_path: Path) -> None:
    write_run(tmp_path, "longrun_a", TRAINS, kind="longrun", options={"profile": "mine"})
    write_run(tmp_path, "longrun_b", TRAINS, kind="longrun")
    assert name_of(chosen(tmp_path, "smoke")) is None
    assert name_of(chosen(tmp_path, "longrun")) == "longrun_b"
    assert name_of(chosen(tmp_path, None, profile="mine")) == "longrun_a"


def test_a_run_that_is_going_on_is_never_taken(tmp_path: Path) -> None:
    write_run(tmp_path, "first", TRAINS)
    with running([sys.executable, "-c", HOLDER, tmp_path], cwd=tmp_path) as process:
        assert first_line(process) == "held\n"
        [run] = known_runs(tmp_path)[0]
        assert (run.status, run.unfinished) == ("running", None)
        with pytest.raises(GateError, match=rf"first is going on now, in PID {process.pid} on .*Wait until it ends"):
            chosen(tmp_path)
    assert name_of(chosen(tmp_path)) == "first"


def test_a_journal_that_cannot_be_read_is_reported_and_hides_no_other_run(tmp_path: Path) -> None:
    write_run(tmp_path, "smoke_a", TRAINS)
    damaged = write_run(tmp_path, "smoke_b", TRAINS, time=1.0)
    (damaged / "journal.jsonl").write_text("no event\n{}\n")
    runs, problems = known_runs(tmp_path)
    assert [run.name for run in runs] == ["smoke_a"]
    assert [problem for problem in problems if "smoke_b" in problem] == problems != []


# The command.


def test_the_command_lists_the_runs_and_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "smoke_a", *FINISHED, time=1.0)
    write_run(tmp_path, "smoke_b", TRAINS, time=2.0)
    assert main(["runs", "--project-root", str(tmp_path)]) == 0
    newest, older = capsys.readouterr().out.splitlines()
    assert "UTC  killed: it was killed while dynamics trained (chunk 3); go on: pytest -m smoke " in newest
    assert newest.endswith("--resume-run results/smoke_b")
    assert older == "results/smoke_a  1970-01-01 00:00:01 UTC  failed: It failed."


def test_the_exit_status_says_whether_a_run_is_unfinished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "smoke_a", *FINISHED)
    words = ["runs", "--unfinished", "--project-root", str(tmp_path)]
    assert main(words) == 1
    assert capsys.readouterr().out == "There is no unfinished run in this project.\n"
    write_run(tmp_path, "smoke_b", TRAINS, time=2.0)
    assert main([*words, "--json"]) == 0
    [one] = json.loads(capsys.readouterr().out)
    assert (one["run"], one["status"], one["kind"]) == ("results/smoke_b", "killed", "smoke")


# The option.


@pytest.mark.requirement("H7", "P1")
@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["-m", "smoke"], "smoke_a"),
        ([], "smoke_a"),
        (["-m", "longrun"], "longrun_a"),
        (["-m", "longrun", "--seed", "3"], None),
        (["--profile", "mine"], None),
    ],
)
def test_the_option_takes_the_unfinished_run_of_this_kind(
    pytester: pytest.Pytester, words: list[str], run: str | None
) -> None:
    for kind in ("smoke", "longrun"):
        write_run(pytester.path, f"{kind}_a", TRAINS, kind=kind)
    config = parsed(pytester, [*words, "--resume-run", "unfinished"])
    resumed, messages = resumed_run(config, pytester.path)
    assert (None if resumed is None else resumed.folder.name) == run
    assert messages[0].endswith("going on with it" if run else "a new one begins")


def test_a_run_that_is_going_on_is_a_usage_error(pytester: pytest.Pytester) -> None:
    write_run(pytester.path, "first", TRAINS)
    config = parsed(pytester, ["--resume-run", "unfinished"])
    with running([sys.executable, "-c", HOLDER, pytester.path], cwd=pytester.path) as process:
        assert first_line(process) == "held\n"
        with pytest.raises(pytest.UsageError, match="--resume-run unfinished: first is going on now"):
            resumed_run(config, pytester.path)


def test_a_folder_called_unfinished_can_still_be_named(pytester: pytest.Pytester) -> None:
    write_run(pytester.path, "unfinished", TRAINS)
    write_run(pytester.path, "smoke_b", TRAINS, time=9.0)
    resumed, messages = resumed_run(parsed(pytester, ["--resume-run", "results/unfinished"]), pytester.path)
    assert resumed is not None
    assert (resumed.folder.name, messages) == ("unfinished", ())
