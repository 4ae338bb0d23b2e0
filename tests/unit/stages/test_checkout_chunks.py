"""Chunks of a checkout that really train, and the hazards of docs/external-checkouts.md: each is survived or reported.

pytest tests/unit/stages/test_checkout_chunks.py -m "slow or not slow"
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.checkout_runs import checkout_run, chunks, train
from tests.helpers.tiny_project import processes_of
from tinyworlds_gate.checkpoints.integrity import verify_checkpoint
from tinyworlds_gate.findings.retuning import retunes
from tinyworlds_gate.findings.training import absolute_steps, channels, chunk_checkpoints
from tinyworlds_gate.run.journal import events_of
from tinyworlds_gate.targets.fingerprint import changed_files, fingerprint


@pytest.mark.requirement("S4", "M1", "M2", "M3", "H5")
def test_two_workers_of_the_original_leave_whole_evidence_whatever_their_log_looks_like(tmp_path: Path) -> None:
    """Hazards: every rank saves, the last updates are lost, and a log of Windows' line ends, bars and odd bytes."""
    context = checkout_run(
        tmp_path, "tinyworlds", "noisy_log", workers=2, latent_target_updates=8, latent_init_log_interval=5
    )
    assert train(context).verdict == "PASS"
    (chunk,) = chunks(context)
    assert (chunk["exit_code"], chunk["checkpoint"]["step"], chunk["history_rows"]) == (0, 7, 8)
    assert {chunk["channels"][id]["verdict"] for id in ("M1", "M2", "M3")} == {"PASS"}
    assert [worker["rank"] for worker in chunk["workers"]] == [0, 1]
    assert chunk["notes"] == []
    assert context.checkout is not None
    assert changed_files(context.checkout.tree, fingerprint(context.target.root)) == []
    assert (context.layout.root / "logs/chunk_001_latent_actions.log").read_bytes().count(b"\xff\xfe") > 3


@pytest.mark.requirement("S4")
def test_a_stage_that_exits_0_after_it_failed_does_not_count(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds-fork", "exit_zero", latent_target_updates=8)
    result = train(context)
    assert result.verdict == "FAIL"
    (chunk,) = chunks(context)
    assert chunk["exit_code"] == 0
    assert "no checkpoint latent_actions_step_7 was written: only step 0 was saved" in result.reason
    assert "whatever its exit code is" in result.reason


@pytest.mark.requirement("S4")
def test_a_stage_that_dies_after_step_0_without_wandb_is_diagnosed(tmp_path: Path) -> None:
    """Only a fork that is configured to train without W&B gets here: the harness enables it."""
    description = "kind: tinyworlds-fork\noverrides: {training: {use_wandb: false}}\n"
    context = checkout_run(tmp_path, "tinyworlds-fork", description=description, latent_target_updates=8)
    result = train(context)
    assert result.verdict == "FAIL"
    (chunk,) = chunks(context)
    assert chunk["exit_code"] == 1
    assert "without W&B such a stage dies there: hazard 4" in "; ".join(chunk["problems"])
    assert (context.layout.checkpoint("latent_actions", 0)).is_dir(), "a checkpoint is there, the stage is dead"


@pytest.mark.slow
@pytest.mark.requirement("S4")
def test_a_fork_without_a_final_save_is_caught_and_its_description_mends_it(tmp_path: Path) -> None:
    more: dict[str, Any] = {"latent_target_updates": 8, "latent_init_log_interval": 5}
    context = checkout_run(tmp_path / "a", "tinyworlds-fork", "no_final_save", **more)
    result = train(context)
    assert result.verdict == "FAIL"
    assert "the newest is of step 5, so the last 2 updates are lost" in result.reason
    assert "`capabilities: {saves_last_update: false}`" in result.reason
    described = "kind: tinyworlds-fork\ncapabilities: {saves_last_update: false}\n"
    mended = checkout_run(tmp_path / "b", "tinyworlds-fork", "no_final_save", description=described, **more)
    assert train(mended).verdict == "PASS"


@pytest.mark.slow
@pytest.mark.requirement("S4")
def test_the_empty_state_of_another_rank_does_not_replace_the_checkpoint(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds", "empty_state", workers=2, latent_target_updates=6)
    assert train(context).verdict == "PASS"
    (checkpoint,) = (chunk["checkpoint"] for chunk in chunks(context))
    assert verify_checkpoint(context.target.root / checkpoint["path"]).step == 5
    (other,) = (context.layout.root / "other_ranks").iterdir()
    assert other.name == "rank1"
    assert (other / "latent_actions/checkpoints" / Path(checkpoint["path"]).name / "model_state_dict.pt").is_file()


@pytest.mark.slow
@pytest.mark.requirement("S4")
def test_an_empty_state_that_another_rank_wrote_is_refused_with_the_way_out(tmp_path: Path) -> None:
    wrong = "kind: tinyworlds\ncapabilities: {saves_on_one_rank: true}\n"
    context = checkout_run(tmp_path, "tinyworlds", "empty_state", workers=2, description=wrong, latent_target_updates=6)
    result = train(context)
    assert result.verdict == "FAIL"
    chunk = chunks(context)[0]
    assert chunk["exit_code"] == 0
    assert "Remove `saves_on_one_rank: true` from the --target-file" in result.reason


@pytest.mark.slow
@pytest.mark.requirement("H7", "P1")
def test_a_fork_that_is_cut_into_chunks_resumes_at_the_absolute_step_and_its_annealing_is_reported(
    tmp_path: Path,
) -> None:
    context = checkout_run(tmp_path, "tinyworlds-fork", latent_target_updates=40, latent_chunk=20)
    assert train(context).verdict == "PASS"
    first, second = chunks(context)
    assert [chunk["checkpoint"]["step"] for chunk in (first, second)] == [19, 39]
    assert "the next chunk anneals anew (hazard 10)" in first["notes"][0]
    assert second["notes"] == []
    words = (context.target.root / "results/words.txt").read_text().splitlines()
    assert "checkpoint=" not in words[0]
    assert words[1].split("checkpoint=")[1].split()[0].endswith("latent_actions_step_19")
    assert verify_checkpoint(context.layout.checkpoint("latent_actions", 39)).step == 39


@pytest.mark.slow
@pytest.mark.requirement("L2", "H5")
def test_workers_that_hang_in_sessions_of_their_own_are_ended_with_term_and_kill_alone(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds-fork", "hang", workers=2, latent_target_updates=8)
    watchdog = context.settings.profile.watchdog.model_copy(update={"stall_s": 20.0})
    profile = context.settings.profile.model_copy(update={"watchdog": watchdog})
    object.__setattr__(context.settings, "profile", profile)
    result = train(context)
    assert result.verdict == "FAIL"
    (chunk,) = chunks(context)
    assert chunk["cause"] == "timeout"
    assert "its log did not grow for" in result.reason
    assert {one["signal"] for one in chunk["ended"]} <= {"SIGTERM", "SIGKILL"}
    assert len(chunk["ended"]) >= 3, "the launcher and both workers"
    assert processes_of(context.target.root) == []


@pytest.mark.slow
@pytest.mark.requirement("S4", "M3")
def test_a_resumed_chunk_shorter_than_its_log_interval_draws_a_picture_and_has_a_rate(tmp_path: Path) -> None:
    """Hazard 12: the fork draws where the interval divides the step, and its final save draws none."""
    more: dict[str, Any] = {"latent_target_updates": 16, "latent_chunk": 8, "latent_init_log_interval": 1000}
    context = checkout_run(tmp_path, "tinyworlds-fork", **more)
    assert train(context).verdict == "PASS"
    first, second = chunks(context)
    assert second["visualization"].endswith("latent_actions_step_15.png")
    assert second["channels"]["M3"]["verdict"] == "PASS"
    assert (second["problems"], second["failure"]) == ([], None)
    words = (context.target.root / "results/words.txt").read_text().splitlines()
    assert " log_interval=1000 " in words[0]
    assert " log_interval=15 " in words[1]
    assert first["updates_per_s"] > 0
    assert second["updates_per_s"] > 0


@pytest.mark.slow
@pytest.mark.requirement("S4", "M3")
def test_a_picture_that_a_checkout_never_draws_is_a_stated_limit_and_no_failure(tmp_path: Path) -> None:
    description = "kind: tinyworlds-fork\noverrides: {training: {log_interval: 1000}}\n"
    more: dict[str, Any] = {"latent_target_updates": 16, "latent_chunk": 8}
    context = checkout_run(tmp_path, "tinyworlds-fork", description=description, **more)
    assert train(context).verdict == "PASS"
    second = chunks(context)[1]
    assert (second["visualization"], second["problems"], second["failure"]) == (None, [], None)
    assert second["channels"]["M3"]["verdict"] == "NOT-RUN"
    assert (
        "log_interval (1000) divides the step, which is none of the updates 8 to 15"
        in second["channels"]["M3"]["reason"]
    )
    events = context.journal.events()
    assert chunk_checkpoints(events).verdict == "PASS"
    m3 = next(one for one in channels(events) if one.id == "M3")
    assert m3.verdict == "PASS"
    assert "not due: chunk 2" in m3.reason


@pytest.mark.slow
@pytest.mark.requirement("S4", "T1", "T6")
def test_a_due_picture_that_is_missing_is_no_runtime_error_and_stops_after_the_second_time(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds-fork", "no_pictures", latent_target_updates=8, max_train_retries=5)
    result = train(context)
    assert result.verdict == "FAIL"
    assert [chunk["failure"]["cause"] for chunk in chunks(context)] == ["missing_evidence"] * 2
    first, last = events_of(context.journal.events(), "retune")
    assert (first["id"], first["changes"], first["proceed"], last["proceed"]) == ("T6", {}, True, False)
    assert "The same failure came twice" in result.reason
    assert "no new whole picture (PNG) appeared" in result.reason


@pytest.mark.slow
@pytest.mark.requirement("T1")
def test_a_missing_file_stops_the_stage_after_the_second_time_with_cause_last_lines_and_fix(tmp_path: Path) -> None:
    context = checkout_run(tmp_path, "tinyworlds", "missing_file", latent_target_updates=8, max_train_retries=5)
    result = train(context)
    assert result.verdict == "FAIL"
    assert [chunk["failure"]["cause"] for chunk in chunks(context)] == ["setup_error"] * 2
    batches = [event["params"]["batch_size_per_gpu"] for event in events_of(context.journal.events(), "chunk_started")]
    assert batches == [16, 16], "a smaller batch cannot fix it"
    assert "FileNotFoundError: [Errno 2] No such file or directory: 'data/palette.json' (at " in result.reason
    assert "utils/stage.py:" in result.reason
    assert "Last lines of results/" in result.reason
    assert '`open("data/palette.json")`' in result.reason
    assert "Fix: put the file where the message looks for it" in result.reason
    assert {one.id: one.verdict for one in retunes(context.journal.events())}["T1"] == "PASS"


@pytest.mark.slow
@pytest.mark.requirement("T1")
def test_a_failing_part_that_a_setting_switches_on_is_named_with_that_setting(tmp_path: Path) -> None:
    description = "kind: tinyworlds\noverrides: {training: {enable_eval_loss: true}}\n"
    context = checkout_run(
        tmp_path, "tinyworlds", description=description, latent_target_updates=8, max_train_retries=5
    )
    result = train(context)
    assert result.verdict == "FAIL"
    assert "AttributeError: 'NoneType' object has no attribute 'item' (at " in result.reason
    assert "runs only where `enable_eval_loss: true` (--target-file) holds. To leave it out: " in result.reason
    assert "`overrides: {training: {enable_eval_loss: false}}` in a --target-file; then start" in result.reason


@pytest.mark.slow
@pytest.mark.requirement("T1")
def test_an_error_that_only_the_loader_knows_keeps_its_cause(tmp_path: Path) -> None:
    """Hazard 14, behind the check before the start: the stage reads less than the settings say."""
    description = "kind: tinyworlds\noverrides: {training: {preload_ratio: 0.001}}\n"
    context = checkout_run(
        tmp_path, "tinyworlds", description=description, latent_target_updates=8, max_train_retries=5
    )
    result = train(context)
    assert len(chunks(context)) == 2
    assert "ValueError: num_samples should be a positive integer value, but got num_samples=0" in result.reason
    assert "raise preload_ratio in configs/training.yaml" in result.reason


@pytest.mark.slow
@pytest.mark.requirement("T3", "H7")
def test_a_retune_of_the_original_trains_longer_from_new_weights(tmp_path: Path) -> None:
    context = checkout_run(
        tmp_path, "tinyworlds", latent_target_updates=8, max_train_retries=1, latent_init_log_interval=5
    )
    gates = context.settings.profile.thresholds.stage_gates
    strict = gates.latent_actions.model_copy(update={"continue_loss": 1e-9, "watch_loss": 1e-9})
    thresholds = context.settings.profile.thresholds.model_copy(
        update={"stage_gates": gates.model_copy(update={"latent_actions": strict})}
    )
    profile = context.settings.profile.model_copy(update={"thresholds": thresholds})
    object.__setattr__(context.settings, "profile", profile)
    assert train(context).verdict == "FAIL"
    spans = [(one["start_update"], one["end_update"]) for one in events_of(context.journal.events(), "chunk_started")]
    assert spans == [(0, 8), (0, 16)]
    assert absolute_steps(context.journal.events()).verdict == "PASS"
