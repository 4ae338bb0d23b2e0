"""What the journal of a run says to a resumed one: what is done, what is pending, what may not differ (H7, P1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.config_files import REPOSITORY
from tests.helpers.finding_events import Event, ended, event, failed, finished, gated, journal, started
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.errors import ConfigError, GateError
from tinyworlds_gate.loop.resume import ResumedRun, RunSoFar, changed_settings, find_run, settings_after
from tinyworlds_gate.run.installation import loop_command, resume_command

TOKENIZER, DYNAMICS = "video_tokenizer", "dynamics"


def run_started(**fields: Any) -> Event:
    return event("run_started", **{"run": "smoke_1", "kind": "smoke", "options": {"seed": 3}, **fields})


def retrain(retry: int, start: int) -> Event:
    return event("dynamics_retrain", retry=retry, learning_rate=1e-4, from_update=start, to_update=start + 5)


def attempt(number: int, verdict: str | None = "FAIL") -> list[Event]:
    ran = event("inference_finished", attempt=number, exit_code=0)
    return [ran] if verdict is None else [ran, event("gate_verdict", attempt=number, verdict=verdict)]


@pytest.mark.requirement("H7")
def test_the_trainings_of_dynamics_are_distinguished() -> None:
    events = journal(
        run_started(),
        *[started(1, TOKENIZER), finished(1, TOKENIZER), gated(1, TOKENIZER), ended(TOKENIZER)],
        *[started(2, DYNAMICS), finished(2, DYNAMICS), gated(2, DYNAMICS), ended(DYNAMICS)],
        *attempt(1),
        retrain(0, 10),
        *[started(3, DYNAMICS, 10, 15), finished(3, DYNAMICS, 15), gated(3, DYNAMICS), ended(DYNAMICS)],
        *attempt(2),
        retrain(1, 15),
        started(4, DYNAMICS, 15, 20),
    )
    run = RunSoFar(tuple(events))
    assert [one["event"] for one in run.training(TOKENIZER)] == [
        "chunk_started",
        "chunk_finished",
        "stage_gate",
        "stage_finished",
    ]
    assert [one["chunk"] for one in run.training(DYNAMICS) if one["event"] == "chunk_started"] == [2]
    first, second = run.retrainings
    assert (first.plan["retry"], first.finished is not None, len(first.events)) == (0, True, 4)
    assert (second.plan["retry"], second.finished, len(second.events)) == (1, None, 1)
    assert run.chunks_started == 4
    assert [one.verdict["attempt"] for one in run.attempts] == [1, 2]


@pytest.mark.requirement("L8")
def test_an_attempt_without_a_verdict_is_none() -> None:
    run = RunSoFar(tuple(journal(run_started(), *attempt(1), *attempt(2, None))))
    assert [one.finished["attempt"] for one in run.attempts] == [1]
    assert RunSoFar().attempts == []
    assert (RunSoFar().chunks_started, RunSoFar().dataset, RunSoFar().retrainings) == (0, None, [])


@pytest.mark.requirement("P1", "H9")
def test_the_settings_follow_every_retune_of_the_journal_that_proceeded() -> None:
    settings = resolve_settings("smoke", {}, project_root=REPOSITORY)
    rate = settings.stages[TOKENIZER].learning_rate
    gave_up = event("retune", stage=TOKENIZER, id="T2", proceed=False, changes={"learning_rate": [rate, 1.0]})
    halved = event("retune", stage=TOKENIZER, id="T2", proceed=True, changes={"learning_rate": [rate, rate / 2]})
    unchanged = event("retune", stage=TOKENIZER, id="T6", proceed=True, changes={})
    after = settings_after(settings, journal(halved, unchanged, retrain(1, 10), gave_up))
    assert after.stages[TOKENIZER].learning_rate == rate / 2
    assert after.source_of(TOKENIZER, "learning_rate") == "retune T2"
    assert (after.stages[DYNAMICS].learning_rate, after.stages[DYNAMICS].n_updates) == (1e-4, 15)
    assert after.source_of(DYNAMICS, "learning_rate") == "retry 2 (T5)"


def resumed(*events: Event) -> ResumedRun:
    return ResumedRun(Path("results/smoke_1"), journal(run_started(), *events))


def test_a_run_that_passed_and_was_reported_is_refused() -> None:
    end = event("run_finished", status="passed")
    resumed(end).require_unfinished()  # killed before its reports were written
    resumed(event("run_finished", status="interrupted"), event("report_written", id="A1")).require_unfinished()
    with pytest.raises(GateError, match="ended with passed, nothing is left to do"):
        resumed(end, event("report_written", id="A1")).require_unfinished()


@pytest.mark.requirement("P1")
@pytest.mark.parametrize("name", ["target_repo", "target_python", "target_file"])
def test_programs_that_only_the_journal_names_are_not_run(name: str) -> None:
    flag = "--" + name.replace("_", "-")
    run = ResumedRun(Path("results/smoke_1"), [event("run_started", kind="smoke", options={name: "results/x/co"})])
    with pytest.raises(GateError, match=rf"would run programs that its journal names \({flag} results/x/co\)"):
        run.require_options({})
    with pytest.raises(GateError, match=rf"was started with {flag} results/x/co, now {flag} elsewhere"):
        run.require_options({name: "elsewhere"})
    run.require_options({name: "results/x/co"})
    assert resume_command("smoke", "smoke_1", run.options).endswith(
        f" {flag} results/x/co --resume-run results/smoke_1"
    )


@pytest.mark.parametrize("options", [None, [], {"seed": 3}])
def test_the_command_that_goes_on_names_only_the_place_of_a_checkout(options: object) -> None:
    assert resume_command("smoke", "run_1", options) == f"{loop_command('smoke')} --resume-run results/run_1"
    where = {"target_repo": "a b", "output_root": "/o", "seed": 3}
    assert " --target-repo 'a b' --output-root /o --resume-run" in resume_command("longrun", "run_1", where)


@pytest.mark.requirement("P1")
def test_a_resumed_run_takes_no_other_options_than_its_own() -> None:
    run = resumed()
    run.require_options({"resume_run": "smoke_1", "project_root": ".", "seed": 3})
    with pytest.raises(GateError, match=r"was started with --seed 3, now --seed 4 is given; .*Leave the option out"):
        run.require_options({"seed": 4})
    with pytest.raises(GateError, match=r"was started without --max-mse, now --max-mse 0\.1 is given"):
        run.require_options({"max_mse": 0.1})


@pytest.mark.requirement("P1")
def test_settings_that_were_edited_since_are_named_with_both_values() -> None:
    table = resolve_settings("smoke", {}, project_root=REPOSITORY).table()
    recorded = json.loads(json.dumps(table, default=str))
    assert changed_settings(recorded, table) == []
    run = resumed(event("settings_resolved", settings=recorded))
    run.require_settings(table)
    key = "stages.dynamics.learning_rate"
    edited = {**table, key: {"value": 7.0, "source": "configs/profiles/smoke/dynamics.yaml"}}
    was = recorded[key]["value"]
    with pytest.raises(ConfigError, match=rf"{key} was {was} and is now 7.0 \(configs/profiles/smoke/dynamics.yaml\)"):
        run.require_settings(edited)


def test_a_run_is_found_by_name_and_by_folder_and_only_in_its_project(tmp_path: Path) -> None:
    folder = tmp_path / "project/results/smoke_1"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_text(json.dumps({"seq": 0, "time": 0.0, **run_started()}) + "\n")
    project = tmp_path / "project"
    for given in ("smoke_1", "results/smoke_1", str(folder)):
        assert find_run(project, given, tmp_path).folder == folder.resolve()
    with pytest.raises(GateError, match=r"--resume-run nothing: no results/<run> folder .*the runs here are smoke_1"):
        find_run(project, "nothing", tmp_path)
    with pytest.raises(GateError, match="start pytest in the project of that run"):
        find_run(tmp_path / "other", str(folder), tmp_path)


@pytest.mark.requirement("H7")
def test_a_failed_try_is_no_training_of_its_own() -> None:
    events = journal(started(1, DYNAMICS), finished(1, DYNAMICS, cause="killed", **failed("killed", continue_at=4)))
    assert len(RunSoFar(tuple(events)).training(DYNAMICS)) == 2
