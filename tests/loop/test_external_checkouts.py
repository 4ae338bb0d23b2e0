"""The whole loop on a stand-in checkout, in both kinds, and the hazards that only a whole loop can show.

Slow: pytest tests/loop/test_external_checkouts.py -m "slow or not slow"
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.helpers.stand_in import make_harness, make_stand_in, run_loop
from tests.helpers.tiny_project import Session, checkpoint_options, processes_of, runs, started, wait_until
from tests.unit.targets.test_arguments import AWKWARD
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.targets.fingerprint import fingerprint

pytestmark = pytest.mark.slow

STAND_IN = "stand_in.json"


def hazards(checkout: Path, *names: str) -> None:
    path = checkout / STAND_IN
    path.write_text(json.dumps({**json.loads(path.read_text()), "hazards": names}))


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_harness(tmp_path_factory.mktemp("external") / "harness")


@pytest.fixture(scope="module")
def fork(harness: Path) -> Session:
    """The whole loop on the fork, with torchrun and two workers, in a folder of an awkward name."""
    checkout = make_stand_in(harness.parent / AWKWARD / "fork", "tinyworlds-fork", workers=2)
    before = fingerprint(checkout)
    done = run_loop(harness, checkout)
    assert fingerprint(checkout) == before
    return dataclasses.replace(done, run_folder=runs(checkout)[-1])


def again(harness: Path, fork: Session, *words: str, names: tuple[str, ...] = ()) -> Session:
    """Only inference and its gates, on the checkpoints of the fork's run, with hazards in its inference."""
    hazards(fork.project, *names)
    try:
        return run_loop(harness, fork.project, "--train-stage", "none", *checkpoint_options(fork), *words)
    finally:
        hazards(fork.project)


@pytest.mark.requirement("H3", "H4", "H7", "G1", "G2", "G3", "G4", "G5", "M1", "M2", "M3", "L2", "L6", "L10")
def test_the_fork_passes_the_whole_loop_with_two_workers(fork: Session) -> None:
    assert fork.exit_status == 0, fork.output
    verdicts = {event["id"]: event["verdict"] for event in fork.events("requirement")}
    assert {id for id, verdict in verdicts.items() if verdict not in ("PASS", "NOT-RUN")} == set()
    assert fork.found("H7") == (
        "NOT-RUN",
        "no occasion: every stage was one chunk from update 0, so nothing was resumed",
    )
    (judged,) = fork.events("gate_verdict")
    assert judged["gates"]["target"]["verdict"] == judged["gates"]["trusted"]["verdict"] == "PASS"
    assert judged["disagreement"] is None
    assert "### Both gates side by side" in fork.report("A1")
    assert "Both gates side by side" in fork.page.read_text(encoding="utf-8")
    assert {len(chunk["workers"]) for chunk in fork.events("chunk_finished")} == {2}
    assert fork.events("chunk_started")[0]["wandb"]["mode"] == "offline"
    assert processes_of(fork.project) == []
    assert main(["verdict", str(fork.run)]) == 0


@pytest.mark.requirement("H3", "H4", "H7", "G5")
def test_the_original_passes_the_whole_loop_with_two_workers_and_h7_is_emulated(harness: Path, tmp_path: Path) -> None:
    done = run_loop(harness, make_stand_in(tmp_path / "original", "tinyworlds", "noisy_log", workers=2))
    assert done.exit_status == 0, done.output
    assert done.found("H7") == (
        "PASS",
        "emulated: a tinyworlds checkout restores weights only and restarts at step 0, so each training that counts "
        "was one chunk from 0 to its target; none resumed",
    )
    (judged,) = done.events("gate_verdict")
    own = judged["gates"]["target"]
    assert own["mse"] == pytest.approx(2 * own["stated_mse"]), "3 copied context frames counted among 6"
    assert "_no_actions_" in done.events("target_inference_finished")[0]["picture"]
    assert [chunk["checkpoint"]["step"] for chunk in done.events("chunk_finished")] == [149, 19, 119]
    assert "H7 is emulated so, never claimed" in done.report("A1")


@pytest.mark.requirement("G2")
def test_a_search_that_takes_another_run_s_checkpoints_fails_by_name(harness: Path, fork: Session) -> None:
    other = fork.project / "results/other"
    for stage in ("video_tokenizer", "latent_actions", "dynamics"):
        (source,) = (fork.run / stage / "checkpoints").glob(f"{stage}_step_[1-9]*9")
        copied = other / stage / "checkpoints" / f"{stage}_step_9999"
        shutil.copytree(source, copied, copy_function=shutil.copyfile)
        os.utime(copied)  # copytree gives a folder its source's time, and the search takes the newest
    done = again(harness, fork, names=("latest_search",))
    shutil.rmtree(other)
    assert done.exit_status == 1
    verdict, reason = done.found("G2")
    assert verdict == "FAIL"
    assert "results/other/video_tokenizer/checkpoints/video_tokenizer_step_9999, but this run chose" in reason
    assert "the trusted one PASS on held-out clips" in done.output


@pytest.mark.requirement("G5")
def test_a_rollout_with_random_actions_is_not_evidence(harness: Path, fork: Session) -> None:
    done = again(harness, fork, names=("random_actions",))
    assert done.exit_status == 1
    assert done.found("G5")[0] == "INVALID"
    assert "followed random actions in 3 step(s)" in done.found("G5")[1]
    assert done.events("run_finished")[0]["status"] == "invalid"


@pytest.mark.requirement("G5")
def test_context_frames_in_the_error_are_removed_and_reported(harness: Path, fork: Session) -> None:
    done = again(harness, fork, names=("context_in_mse",))
    assert done.exit_status == 0, done.output
    own = done.events("gate_verdict")[0]["gates"]["target"]
    assert own["mse"] == pytest.approx(2 * own["stated_mse"])
    assert "over 3 copied context frames and 3 generated ones" in own["sentence"]


@pytest.mark.requirement("G3", "G5")
def test_a_log_without_its_error_fails_though_the_trusted_gate_passes(harness: Path, fork: Session) -> None:
    done = again(harness, fork, names=("no_mse", "noisy_log"))
    assert done.exit_status == 1
    assert "lacks `Mean Squared Error (GT vs Pred)`" in done.found("G5")[1]
    assert "The two gates disagree: the checkout's own says FAIL (no error), the trusted one PASS" in done.output
    assert "The two gates disagree" in done.report("A1")


@pytest.mark.requirement("G5", "H3")
def test_without_held_out_frames_the_trusted_gate_is_not_run_and_nothing_passes(harness: Path, fork: Session) -> None:
    beside = fork.project / "data/bars_held_out_frames.h5"
    beside.rename(beside.with_suffix(".away"))
    try:
        done = again(harness, fork)
    finally:
        beside.with_suffix(".away").rename(beside)
    assert done.exit_status == 1
    (judged,) = done.events("gate_verdict")
    assert judged["gates"]["target"]["verdict"] == "PASS"
    assert judged["gates"]["trusted"]["verdict"] == "NOT-RUN"
    assert done.events("run_finished")[0]["status"] == "invalid"
    assert "the trusted gate will be NOT-RUN, so this run cannot pass" in done.output
    assert main(["verdict", str(done.run)]) == 1


@pytest.mark.requirement("G5", "C4")
def test_an_architecture_that_ours_cannot_read_makes_the_trusted_gate_not_run(harness: Path, fork: Session) -> None:
    import torch

    copy = fork.project / "results/experts/dynamics/checkpoints/dynamics_step_119"
    shutil.copytree(fork.run / "dynamics/checkpoints/dynamics_step_119", copy)
    weights = torch.load(copy / "model_state_dict.pt", weights_only=True)
    torch.save(
        {**weights, "transformer.blocks.0.moe.experts.0.weight": torch.zeros(2, 2)}, copy / "model_state_dict.pt"
    )
    done = again(harness, fork, "--dynamics-checkpoint", str(copy))
    assert done.exit_status == 1
    assert "the trusted gate is NOT-RUN: dynamics_step_119 has mixture-of-experts blocks" in done.found("G5")[1]
    assert "cannot be read: dynamics_step_119 has mixture-of-experts" in done.found("C4")[1]


@pytest.mark.requirement("L8", "T5", "H7")
@pytest.mark.parametrize(("kind", "begins"), [("tinyworlds-fork", 6), ("tinyworlds", 0)])
def test_a_failed_gate_is_answered_by_training_dynamics_on_or_anew(
    harness: Path, tmp_path: Path, kind: str, begins: int
) -> None:
    checkout = make_stand_in(tmp_path / "checkout", kind)
    done = run_loop(harness, checkout, "--dynamics-target-updates", "6", "--dynamics-init-log-interval", "5")
    assert done.exit_status == 0, done.output
    retrained = [chunk for chunk in done.events("chunk_started") if chunk["reason"].startswith("inference retry")]
    assert [(chunk["start_update"], chunk["end_update"]) for chunk in retrained] == [(begins, 126)]
    assert [event["draw"] for event in done.events("gate_verdict")] == [1, 1, 2]
    assert done.found("T5")[0] == done.found("L8")[0] == done.found("H7")[0] == "PASS"


@pytest.mark.requirement("T5", "G1")
def test_an_inference_that_accepts_no_checkpoint_folder_is_answered_by_no_training(
    harness: Path, tmp_path: Path
) -> None:
    done = run_loop(harness, make_stand_in(tmp_path / "checkout", "tinyworlds", "folders_are_missing"))
    assert done.exit_status == 1
    assert done.events("dynamics_retrain") == []
    verdict, reason = done.found("T5")
    assert verdict == "NOT-RUN"
    assert "no retraining can mend it: the checkout's inference ended with exit code 1" in reason
    assert "its code accepts no checkpoint folder" in reason
    assert done.events("gate_verdict")[0]["gates"]["trusted"]["verdict"] == "PASS"


def test_a_fork_that_renamed_everything_is_driven_by_its_description(harness: Path, tmp_path: Path) -> None:
    checkout = make_stand_in(
        tmp_path / "checkout",
        "tinyworlds-fork",
        renamed={"save_every": "log_interval"},
        stages={"video_tokenizer": "vqvae"},
    )
    (checkout / "configs").rename(checkout / "settings")
    (checkout / "train").mkdir()
    for name in ("video_tokenizer", "latent_actions", "dynamics"):
        (checkout / f"scripts/train_{name}.py").rename(checkout / f"train/{name}.py")
    (checkout / "scripts/run_inference.py").rename(checkout / "play.py")
    described = tmp_path / "fork.yaml"
    described.write_text(
        "kind: tinyworlds-fork\nname: pocketworlds\nconfigs: settings\nrenamed: {log_interval: save_every}\n"
        "scripts: {video_tokenizer: train/video_tokenizer.py, latent_actions: train/latent_actions.py,\n"
        "          dynamics: train/dynamics.py, inference: play.py}\n"
        "stages: {video_tokenizer: vqvae}\n"
        "patterns: {checkpoint: 'Using (?P<stage>vqvae|latent_actions|dynamics) checkpoint:\\s*(?P<path>\\S+)$'}\n"
    )
    done = run_loop(harness, checkout, "--target-file", str(described))
    assert done.exit_status == 0, done.output
    assert "tinyworlds-fork (described by fork.yaml as pocketworlds)" in done.output
    assert " save_every=50 " in (checkout / "results/words.txt").read_text()
    assert (done.run / "video_tokenizer/checkpoints/video_tokenizer_step_149").is_dir()


@pytest.mark.requirement("H7")
def test_a_killed_run_goes_on_and_its_outputs_may_lie_elsewhere(harness: Path, tmp_path: Path) -> None:
    checkout, outputs = make_stand_in(tmp_path / "checkout", "tinyworlds-fork"), tmp_path / "outputs"
    words = ["--profile", str(harness / "profile"), "--target-repo", str(checkout), "--output-root", str(outputs)]
    quiet = ["validation", "-m", "smoke", "-p", "no:cacheprovider"]
    with started(harness, *quiet, *words) as process:
        wait_until(
            lambda: any('"stage": "dynamics"' in line for run in runs(outputs) for line in _lines(run)),
            process,
            "dynamics was started",
        )
        os.kill(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
    (killed,) = runs(outputs)
    done = run_loop(harness, checkout, "--output-root", str(outputs), "--resume-run", killed.name)
    assert done.exit_status == 0, done.output
    session = Session(outputs, done.exit_status, done.output, done.seconds)
    assert [event["resumed"] for event in session.events("run_started")] == [False, True]
    assert list((outputs / "inference_results").glob("inference_results_gt_vs_pred_*.png"))
    assert list((outputs / "wandb").glob("offline-run-*"))
    left = {path.name for path in checkout.iterdir()} & {"results", "Logs", "wandb", "docs", "inference_results"}
    assert left == {"results", "inference_results"}, "`results/` is the stand-in's own, which notes its words there"
    assert [path.name for path in (checkout / "results").iterdir()] == ["words.txt"]


def _lines(run: Path) -> list[str]:
    return (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()
