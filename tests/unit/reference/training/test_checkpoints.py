"""Outputs of a stage: checkpoints with everything a resume needs, pictures, log lines and W&B runs."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import matplotlib.image
import pytest
import torch

from tests.helpers.required_tools import without
from tests.helpers.tiny_stages import STAGE, TRAINING, TinyStages, trained_stages
from tinyworlds_gate.checkpoints.describe import describe_checkpoint
from tinyworlds_gate.checkpoints.integrity import sha256_of, verify_checkpoint
from tinyworlds_gate.checkpoints.retention import mark_gated
from tinyworlds_gate.evidence.metrics.local import read_history
from tinyworlds_gate.evidence.metrics.wandb_reader import Patience, ask
from tinyworlds_gate.evidence.metrics.wandb_rows import LoggedRun
from tinyworlds_gate.launch.command import stage_command
from tinyworlds_gate.run.disk import full_disk
from tinyworlds_gate.run.layout import RunLayout

STAGES = ("video_tokenizer", "latent_actions", "dynamics")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> TinyStages:
    return trained_stages(tmp_path_factory)


@pytest.mark.parametrize("stage", STAGES)
def test_every_file_of_a_checkpoint_loads_without_running_code(project: TinyStages, stage: str) -> None:
    folder = project.checkpoint("whole", stage, 11)
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "model_state_dict.pt",
        "optim_state_dict.pt",
        "state.pt",
    ]
    for name in ("model_state_dict.pt", "optim_state_dict.pt", "state.pt"):
        assert torch.load(folder / name, weights_only=True)


@pytest.mark.parametrize("stage", STAGES)
def test_the_state_holds_all_that_a_resume_needs(project: TinyStages, stage: str) -> None:
    workers = 2 if stage == "dynamics" else 1
    state = torch.load(project.checkpoint("whole", stage, 11) / "state.pt", weights_only=True)
    assert state["step"] == 11
    assert state["scheduler_state_dict"] == {"peak": 1e-2, "start": 0, "end": 12, "warmup_fraction": 0.05}
    # Two micro-batches an update.
    assert (state["sampler_state_dict"]["position"], state["sampler_state_dict"]["seed"]) == (24, 0)
    assert len(state["rng_by_rank"]) == workers
    assert all(rng["cpu"].dtype == torch.uint8 for rng in state["rng_by_rank"])


def test_the_ranks_have_random_streams_of_their_own(project: TinyStages) -> None:
    first, second = torch.load(project.checkpoint("whole", "dynamics", 11) / "state.pt", weights_only=True)[
        "rng_by_rank"
    ]
    assert not torch.equal(first["cpu"], second["cpu"])


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.requirement("C4")
def test_the_config_in_a_checkpoint_is_plain_data_with_every_size(project: TinyStages, stage: str) -> None:
    config = torch.load(project.checkpoint("whole", stage, 11) / "state.pt", weights_only=True)["config"]
    assert json.loads(json.dumps(config)) == config
    expected = {**TRAINING, **STAGE, "stage": stage}
    distributed = expected.pop("distributed")
    shown = {key: config[key] for key in expected}
    # The two workers of torchrun are on the command line, as in the harness.
    workers = {"nproc_per_node": 2} if stage == "dynamics" else {}
    assert shown == {**expected, **workers}
    assert config["distributed"]["use_ddp"] == (stage == "dynamics")
    assert distributed == {"use_ddp": False}
    described = describe_checkpoint(verify_checkpoint(project.checkpoint("whole", stage, 11)))
    assert (described.frame_size, described.patch_size, described.embed_dim) == (16, 8, 16)


@pytest.mark.requirement("C4")
def test_a_dynamics_checkpoint_records_the_checkpoints_and_the_data_that_it_was_trained_on(project: TinyStages) -> None:
    manifest = verify_checkpoint(project.checkpoint("whole", "dynamics", 11)).manifest
    assert manifest is not None
    sources = {
        stage: verify_checkpoint(project.checkpoint("whole", stage, 11))
        for stage in ("video_tokenizer", "latent_actions")
    }
    assert manifest["tokenizer_sha256"] == sources["video_tokenizer"].model_sha256
    assert manifest["latent_actions_sha256"] == sources["latent_actions"].model_sha256
    assert manifest["data_sha256"] == sha256_of(project.root / "data" / "tiny_frames.h5")
    assert manifest["run"] == "whole"
    assert "tokenizer_sha256" not in (sources["latent_actions"].manifest or {})


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.requirement("M2", "M3")
def test_each_log_interval_leaves_one_checkpoint_and_one_picture_written_by_rank_0_alone(
    project: TinyStages, stage: str
) -> None:
    root = project.run_root("whole") / stage
    assert sorted(path.name for path in (root / "checkpoints").iterdir()) == [f"{stage}_step_11", f"{stage}_step_5"]
    pictures = sorted((root / "visualizations").iterdir())
    assert [path.name for path in pictures] == [f"{stage}_step_11.png", f"{stage}_step_5.png"]
    for picture in pictures:
        assert matplotlib.image.imread(picture).std() > 0.01


def test_the_log_of_a_stage_states_devices_sizes_and_progress(project: TinyStages) -> None:
    log = (project.root / "dynamics.log").read_text(encoding="utf-8")
    assert "dynamics training on cpu with 2 worker(s)" in log
    assert re.search(r"^Results will be saved in results/whole/dynamics$", log, re.MULTILINE)
    assert re.search(r"^DynamicsModel parameters: [\d.]+M \(\d+\)$", log, re.MULTILINE)
    assert re.findall(r"^\[dynamics\] update (\d+)/12 loss [\d.]+ \([\d.]+ updates/s\)$", log, re.MULTILINE) == [
        "4",
        "8",
        "12",
    ]
    assert len(re.findall(r"^\[dynamics\] checkpoint saved: .*dynamics_step_(5|11)$", log, re.MULTILINE)) == 2


def test_only_the_newest_checkpoints_are_kept(project: TinyStages) -> None:
    done = project.train("video_tokenizer", "pruned", {"n_updates": 5, "log_interval": 1, "keep_checkpoints": 2})
    assert done.exit_code == 0, done.output
    kept = sorted(path.name for path in (project.run_root("pruned") / "video_tokenizer" / "checkpoints").iterdir())
    assert kept == ["video_tokenizer_step_3", "video_tokenizer_step_4"]


@pytest.mark.requirement("S4")
def test_where_a_chunk_resumed_from_and_what_a_gate_was_judged_on_outlive_pruning(project: TinyStages) -> None:
    settings = {"log_interval": 1, "keep_checkpoints": 1}
    folder = project.run_root("gated") / "video_tokenizer" / "checkpoints"
    done = project.train("video_tokenizer", "gated", {"n_updates": 1, **settings})
    assert done.exit_code == 0, done.output
    mark_gated(folder / "video_tokenizer_step_0", "inference-1")
    for end in (2, 4):
        start = folder / f"video_tokenizer_step_{end // 2 - 1}"
        done = project.train("video_tokenizer", "gated", {"n_updates": end, "checkpoint": start, **settings})
        assert done.exit_code == 0, done.output
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [
        "video_tokenizer_step_0",
        "video_tokenizer_step_1",
        "video_tokenizer_step_3",
    ]


def test_an_old_checkpoint_that_cannot_be_removed_is_reported_and_training_goes_on(project: TinyStages) -> None:
    folder = project.run_root("kept") / "video_tokenizer" / "checkpoints"
    (folder / ".gated-stage").mkdir(parents=True)  # what has to stay cannot be read
    settings = {"n_updates": 3, "log_interval": 1, "keep_checkpoints": 1}
    done = project.train("video_tokenizer", "kept", settings)
    assert done.exit_code == 0, done.output
    assert done.output.count("[video_tokenizer] warning: the gated checkpoints of ") == 2
    assert [verify_checkpoint(folder / f"video_tokenizer_step_{step}").step for step in range(3)] == [0, 1, 2]


@pytest.mark.requirement("S4")
def test_a_disk_that_cannot_hold_one_checkpoint_is_reported_before_training(project: TinyStages) -> None:
    """Run the stage in its own mount namespace with a file system of 64 KiB."""
    folder = project.run_root("small")
    folder.mkdir(parents=True)
    with_disk = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    with_disk += ['mount -t tmpfs -o size=64k none "$0" && exec "$@"', str(folder)]
    if subprocess.run([*with_disk, "true"], check=False, capture_output=True).returncode != 0:
        without("user-namespaces", "a mount namespace of one's own is not allowed here")
    command = stage_command(project.target, "video_tokenizer", nproc_per_node=1, overrides={})
    done = subprocess.run(
        [*with_disk, *command],
        cwd=project.root,
        env=project.environment("small"),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 3, done.stderr
    message = done.stderr.splitlines()[-1]
    assert re.search(
        r"^\[video_tokenizer\] error: video_tokenizer: nothing was trained, since no checkpoint could be saved: "
        r"No space left on device: a checkpoint takes \d+\.\d KiB, and \d+\.\d KiB are free on the disk of ",
        message,
    )
    assert full_disk(done.stderr, []) == message, "the loop stops, and does not retune"
    assert "update" not in done.stdout
    assert not project.history("small", "video_tokenizer").exists()


def test_a_stage_beats_where_the_harness_asks_for_heartbeats(project: TinyStages, tmp_path: Path) -> None:
    done = project.train(
        "video_tokenizer", "beating", {"n_updates": 3}, extra={"TINYWORLDS_GATE_HEARTBEATS": str(tmp_path / "beats")}
    )
    assert done.exit_code == 0, done.output
    (file,) = (tmp_path / "beats").iterdir()
    beats = [json.loads(line) for line in file.read_text().splitlines()]
    assert (beats[0]["step"], beats[-1]["step"], beats[-1]["updates"]) == (-1, 2, 3)
    assert {beat["device"] for beat in beats} == {"cpu"}


@pytest.mark.requirement("M1", "L9")
def test_with_use_wandb_an_offline_run_holds_the_same_numbers(project: TinyStages) -> None:
    done = project.train(
        "latent_actions",
        "logged",
        {"use_wandb": True, "n_updates": 4},
        extra={"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_RUN_ID": "0123456789ab"},
    )
    assert done.exit_code == 0, done.output
    table = read_history("latent_actions", project.history("logged", "latent_actions"))
    run = LoggedRun("0123456789ab", "tinyworlds", None, 0, 4)
    answer = ask("offline", [run], RunLayout(project.root, "logged").create(), Patience()).runs[run.id]
    assert answer.problem is None
    for name in ("train/loss", "latent_actions/codebook_usage", "learning_rate/group_0", "action_entropy"):
        assert [answer.rows[step].get(name) for step in range(4)] == list(table.columns[name]), name
