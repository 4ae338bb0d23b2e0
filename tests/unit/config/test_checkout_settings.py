"""The settings of a run on a checkout: its own files, the profile's budgets, and what its kind makes of them.

pytest tests/unit/config/test_checkout_settings.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.config_files import REPOSITORY
from tests.helpers.stand_in import make_harness, set_config, write_sources
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.config.run_copy import copy_checkout_settings, edited_settings
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.loop.checkout import (
    checkout_checks,
    chosen_target,
    expected_chunks,
    output_root,
    resolve_checkout,
)
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.stages.chunk_launch import Chunk, chunk_command
from tinyworlds_gate.targets.base import Target


def settings_of(checkout: Path, gpus: int = 0, description: str | None = None, **explicit: Any) -> Settings:
    profile = checkout.parent / "harness"
    if not profile.exists():
        make_harness(profile)
    options: dict[str, Any] = {"target_repo": str(checkout), **explicit}
    if description is not None:
        file = checkout.parent / "fork.yaml"
        file.write_text(description)
        options["target_file"] = str(file)
    target = chosen_target(options)
    assert target is not None
    return resolve_checkout(profile / "profile", options, {}, target, checkout, gpus)


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    return write_sources(tmp_path / "checkout", "tinyworlds-fork")


@pytest.fixture
def original(tmp_path: Path) -> Path:
    return write_sources(tmp_path / "checkout", "tinyworlds")


@pytest.mark.requirement("P1")
def test_sizes_and_knobs_are_the_checkout_s_and_budgets_the_profile_s(fork: Path) -> None:
    settings = settings_of(fork, init_batch_size=3)
    assert (settings.training.frame_size, settings.training.embed_dim, settings.training.dataset) == (16, 32, "BARS")
    assert settings.stages["dynamics"].learning_rate == 3e-3
    assert settings.source_of("dynamics", "learning_rate") == "configs/dynamics.yaml"
    assert settings.stages["dynamics"].batch_size_per_gpu == 3
    assert settings.source_of("dynamics", "batch_size_per_gpu") == "option --init-batch-size"
    assert settings.plan("video_tokenizer").target_updates == 150
    assert settings.inference.clips == 32


def test_the_original_s_backbone_comes_from_its_stage_files(original: Path) -> None:
    settings = settings_of(original)
    assert settings.training.embed_dim == 32
    assert settings.provenance["training.embed_dim"].endswith("video_tokenizer.yaml")


def test_unknown_keys_of_a_checkout_are_ignored(fork: Path) -> None:
    set_config(fork, "training", fsdp={"deep": {"param_dtype": "bfloat16"}}, offload_policy=None, fps=None)
    set_config(fork, "dynamics", use_moe=True)
    assert settings_of(fork).training.fps == 15, "what is null there is the default"


def test_a_size_that_no_file_sets_is_named(fork: Path) -> None:
    set_config(fork, "training", patch_size=None)
    with pytest.raises(ConfigError, match=r"`patch_size` is missing; add it"):
        settings_of(fork)


def test_the_history_needs_wandb_and_held_out_clips_a_file_of_their_own(fork: Path) -> None:
    set_config(fork, "training", use_wandb=False)
    settings = settings_of(fork)
    assert settings.training.use_wandb
    assert settings.training.held_out_fraction == 1.0
    assert "is read from its W&B files" in settings.provenance["training.use_wandb"]


@pytest.mark.requirement("P1")
def test_a_stage_is_one_chunk_where_its_schedule_spans_n_updates_and_a_note_says_so(fork: Path) -> None:
    profile = make_harness(fork.parent / "harness") / "profile/profile.yaml"
    profile.write_text(profile.read_text().replace("{chunk: 150,", "{chunk: 40,"))
    settings = settings_of(fork)
    assert expected_chunks(settings)["video_tokenizer"] == [(0, 150)]
    assert "one chunk of 150 updates instead of 4 chunks" in settings.notes[0]
    assert settings.profile.watchdog.chunk_deadline_s == 4 * 150
    cut = settings_of(fork, video_chunk=40)
    assert expected_chunks(cut)["video_tokenizer"] == [(0, 40), (40, 80), (80, 120), (120, 150)]
    assert "it anneals anew in every chunk (hazard 10)" in cut.notes[0]


@pytest.mark.requirement("H7")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"video_chunk": 40},
            r"--video-chunk 40 cuts video_tokenizer into chunks, but a tinyworlds checkout restarts at step 0",
        ),
        (
            {"video_checkpoint": "x"},
            r"--video-checkpoint x cannot be honoured by a tinyworlds checkout: it restarts at step 0",
        ),
        ({"use_wandb": False}, r"--use-wandb False cannot be honoured .* its history is read from its W&B files"),
        ({"keep_checkpoints": 2}, r"--keep-checkpoints 2 cannot be honoured .* it never removes checkpoints"),
    ],
)
def test_an_option_that_the_original_does_not_support_is_refused(
    original: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_of(original, **options)


def test_a_checkpoint_of_a_stage_that_is_not_trained_is_not_a_start(original: Path) -> None:
    assert settings_of(original, train_stage="dynamics", video_checkpoint="x").options.video_checkpoint == "x"


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [("WANDB_MODE", "disabled", "Unset it, or set it to offline"), ("WANDB_DISABLED", "true", "Unset it")],
)
def test_wandb_that_is_disabled_is_refused_since_the_history_would_be_lost(
    fork: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, fix: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"{name}={value}: .*{fix}"):
        settings_of(fork)


def test_a_checkout_with_device_cuda_on_a_machine_without_a_gpu_is_refused_with_the_fix(fork: Path) -> None:
    set_config(fork, "training", device="cuda")
    with pytest.raises(ConfigError, match=r"asks for device cuda .*`overrides: \{training: \{device: cpu\}\}`"):
        settings_of(fork)
    overridden = "kind: tinyworlds-fork\noverrides: {training: {device: cpu}}\n"
    assert settings_of(fork, description=overridden).training.device == "cpu"
    assert settings_of(fork, gpus=2).training.device == "cuda"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target_kind": "tinyworlds"}, r"--target-kind tinyworlds says something of a checkout, and none is named"),
        ({"held_out_data": "h.h5"}, r"--held-out-data h\.h5 says something of a checkout"),
        (
            {"target_repo": "c", "project_root": "p"},
            r"--project-root p and --target-repo c both name the validated project",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        chosen_target(options)


def test_outputs_go_to_the_checkout_unless_another_place_is_given(tmp_path: Path) -> None:
    assert output_root({"target_repo": "c"}, tmp_path) == Path("c")
    assert output_root({"target_repo": "c", "output_root": "o"}, tmp_path) == Path("o")
    assert output_root({}, tmp_path) == tmp_path


WIDE = {"embed_dim": 64, "num_blocks": 2}


@pytest.mark.requirement("C2")
def test_inject_puts_the_shared_backbone_on_every_command_line_and_records_it(original: Path) -> None:
    set_config(original, "dynamics", **WIDE)
    settings = settings_of(original, align_backbone="inject")
    assert settings.training.embed_dim == 32
    assert settings.sizes_of("dynamics")["embed_dim"] == 32
    assert settings.provenance["training.embed_dim"].startswith("--align-backbone inject, from configs/video_tokenizer")
    assert any("every stage gets embed_dim 32" in note for note in settings.notes)
    target = chosen_target({"target_repo": str(original)})
    assert target is not None
    for stage in STAGES:
        words = chunk_command(target, settings, chunk_of(stage), None, inputs(), on_cpu=True)
        assert {"embed_dim=32", "num_heads=2", "hidden_dim=64", "num_blocks=1"} <= set(words)
    own = chunk_command(target, settings_of(original), chunk_of("dynamics"), None, inputs(), on_cpu=True)
    assert not any(word.startswith("embed_dim=") for word in own)


@pytest.mark.requirement("C2")
def test_report_keeps_the_sizes_of_each_stage(original: Path) -> None:
    set_config(original, "dynamics", **WIDE)
    settings = settings_of(original, align_backbone="report")
    assert settings.sizes_of("video_tokenizer")["embed_dim"] == 32
    assert settings.sizes_of("dynamics")["embed_dim"] == 64
    assert settings.sizes_of("dynamics")["frame_size"] == 16
    checks = {check.id: check.verdict for check in checkout_checks(settings, chosen(original))}
    assert checks == {"C1": "PASS", "C2": "DEGRADED", "C3": "PASS"}
    set_config(original, "training", embed_dim=32)
    assert settings_of(original, align_backbone="report").sizes_of("dynamics")["embed_dim"] == 32, "as TinyWorlds does"


@pytest.mark.requirement("C2")
def test_the_options_of_a_checkout_s_settings_need_a_checkout(tmp_path: Path) -> None:
    for options in ({"align_backbone": "inject"}, {"dynamics_config": "x.yaml"}):
        with pytest.raises(ConfigError, match=r"says something of a checkout, and none is named"):
            chosen_target(options)
        with pytest.raises(ConfigError, match=r"is for a TinyWorlds checkout, and .* is a project of this harness"):
            chosen_target({**options, "target_repo": str(REPOSITORY)})


@pytest.mark.requirement("P1")
def test_a_stage_reads_the_settings_file_that_an_option_or_the_description_names(original: Path) -> None:
    large = yaml.safe_load((original / "configs/dynamics.yaml").read_text()) | {"batch_size_per_gpu": 3}
    (original / "configs/dynamics_large.yaml").write_text(yaml.safe_dump(large))
    outside = original.parent / "mine.yaml"
    outside.write_text(yaml.safe_dump({**large, "batch_size_per_gpu": 5}))
    description = "kind: tinyworlds\nsettings: {dynamics: configs/dynamics_large.yaml}\n"
    described = settings_of(original, description=description)
    assert described.stages["dynamics"].batch_size_per_gpu == 3
    assert described.source_of("dynamics", "batch_size_per_gpu") == "configs/dynamics_large.yaml"
    given = settings_of(original, description=description, dynamics_config=str(outside))
    assert given.stages["dynamics"].batch_size_per_gpu == 5
    target = chosen_target({"target_repo": str(original), "dynamics_config": "configs/dynamics_large.yaml"})
    assert target is not None
    words = chunk_command(target, described, chunk_of("dynamics"), None, inputs(), on_cpu=True)
    assert words[words.index("--config") + 1] == str(original / "configs/dynamics_large.yaml")
    with pytest.raises(ConfigError, match=r"lacks 1 of its files: .*absent\.yaml"):
        chosen_target({"target_repo": str(original), "dynamics_config": "configs/absent.yaml"})


@pytest.mark.requirement("P1")
def test_the_run_s_copy_has_the_chosen_files_under_the_contract_s_names(original: Path) -> None:
    (original / "configs/large.yaml").write_text((original / "configs/dynamics.yaml").read_text() + "note: large\n")
    settings = settings_of(original, dynamics_config="configs/large.yaml")
    kept = copy_checkout_settings(settings, original / "results/run/configs")
    assert "note: large" in (kept / "checkout/dynamics.yaml").read_text()
    assert edited_settings(settings) == ()
    (original / "configs/large.yaml").write_text("note: other\n")
    assert edited_settings(settings) == ("configs/large.yaml",)


@pytest.mark.requirement("P1")
def test_words_of_the_description_are_settings_of_the_run(original: Path) -> None:
    settings = settings_of(original, description="kind: tinyworlds\noverrides: {training: {frame_size: 8}}\n")
    assert settings.training.frame_size == 8
    assert settings.provenance["training.frame_size"] == "--target-file"


@pytest.mark.requirement("P2")
def test_a_checkout_that_refuses_workers_without_a_gpu_gets_one_on_the_cpu(fork: Path) -> None:
    set_config(fork, "training", nproc_per_node=2, distributed={"use_ddp": True})
    assert settings_of(fork).training.nproc_per_node == 2
    config = fork / "utils/config.py"
    config.write_text(config.read_text() + '\nREFUSAL = "Distributed training (DDP/FSDP) requires device=cuda."\n')
    settings = settings_of(fork)
    assert settings.training.nproc_per_node == 1
    assert not settings.training.distributed.use_ddp
    assert any("refuses several workers without a GPU (utils/config.py:" in note for note in settings.notes)
    assert settings_of(fork, gpus=2).training.nproc_per_node == 2
    with pytest.raises(ConfigError, match=r"--nproc-per-node 2 on the CPU cannot be honoured by this checkout"):
        settings_of(fork, nproc_per_node=2)


def test_compiling_is_switched_off_on_the_cpu_alone(original: Path) -> None:
    set_config(original, "training", compile=True)
    settings, target = settings_of(original), chosen(original)
    assert "compile=false" in chunk_command(target, settings, chunk_of("dynamics"), None, inputs(), on_cpu=True)
    assert "compile=false" not in chunk_command(target, settings, chunk_of("dynamics"), None, inputs(), on_cpu=False)


def chosen(checkout: Path) -> Target:
    target = chosen_target({"target_repo": str(checkout)})
    assert target is not None
    return target


def chunk_of(stage: str) -> Chunk:
    return Chunk(1, stage, 0, 20, 20, 0, "planned")


def inputs() -> dict[str, CheckpointRef]:
    return {stage: CheckpointRef(stage, 0, Path(f"/r/{stage}"), "", 0) for stage in STAGES[:2]}
