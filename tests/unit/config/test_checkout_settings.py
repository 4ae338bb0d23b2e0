"""The settings of a run on a checkout: its own files, the profile's budgets, and what its kind makes of them.

pytest tests/unit/config/test_checkout_settings.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.stand_in import make_harness, set_config, write_sources
from tinyworlds_gate.config.load import Settings
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.loop.checkout import chosen_target, expected_chunks, output_root, resolve_checkout


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
    assert settings.provenance["training.embed_dim"].endswith("dynamics.yaml")


def test_keys_that_the_loop_does_not_know_are_the_checkout_s_own_business(fork: Path) -> None:
    set_config(fork, "training", fsdp={"deep": {"param_dtype": "bfloat16"}}, offload_policy=None, fps=None)
    set_config(fork, "dynamics", use_moe=True)
    assert settings_of(fork).training.fps == 15, "what is null there is the default"


def test_a_size_that_no_file_tells_is_named(fork: Path) -> None:
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
        ({"keep_checkpoints": 2}, r"--keep-checkpoints 2 cannot be honoured .* it never removes checkpoints"),
    ],
)
def test_what_the_original_cannot_do_is_refused_when_it_is_asked_for(
    original: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        settings_of(original, **options)


def test_a_given_model_of_a_stage_that_is_not_trained_is_no_start(original: Path) -> None:
    assert settings_of(original, train_stage="dynamics", video_checkpoint="x").options.video_checkpoint == "x"


def test_wandb_that_is_disabled_is_refused_since_the_history_would_be_lost(
    fork: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with pytest.raises(ConfigError, match=r"WANDB_MODE=disabled: .*Unset it, or set it to offline"):
        settings_of(fork)


def test_a_checkout_that_asks_for_cuda_on_a_machine_without_a_gpu_is_refused_with_the_fix(fork: Path) -> None:
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
