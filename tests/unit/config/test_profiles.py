"""The profiles that ship: complete, aligned, and with the numbers of the source (P3, P4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.config_files import PROFILES, REPOSITORY, copy_profile, replace_line
from tinyworlds_gate.config.alignment import check_alignment
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.config.profile import StageGates
from tinyworlds_gate.config.profile_files import display_path, locate_profile, profile_names
from tinyworlds_gate.config.schema import STAGE_SCHEMAS
from tinyworlds_gate.config.stage_config import load_inference_config, load_stage_config
from tinyworlds_gate.config.thresholds import STRICT_THRESHOLDS
from tinyworlds_gate.config.yaml_io import read_mapping
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import STAGES

OF_GAMES = {"longrun-doom", "longrun-minigrid", "longrun-pong"}


def shipped(name: str) -> Settings:
    return resolve_settings(name, {}, project_root=REPOSITORY)


def numbers(settings: Settings, stage: str) -> tuple[float, ...]:
    config = settings.stages[stage]
    return (
        config.batch_size_per_gpu,
        config.gradient_accumulation_steps,
        config.learning_rate,
        config.log_interval,
        config.n_updates,
    )


@pytest.mark.requirement("P3")
def test_the_baseline_has_the_numbers_of_the_specification() -> None:
    settings = shipped("baseline")
    assert numbers(settings, "video_tokenizer") == (16, 2, 1e-3, 2500, 40000)
    assert numbers(settings, "latent_actions") == (16, 1, 1e-4, 500, 10000)
    assert numbers(settings, "dynamics") == (8, 2, 5e-4, 1000, 300000)


@pytest.mark.requirement("P4", "P2")
def test_the_long_run_has_the_safe_start_of_the_specification() -> None:
    settings = shipped("longrun")
    assert numbers(settings, "video_tokenizer") == (8, 2, 3e-4, 500, 40000)
    assert numbers(settings, "latent_actions") == (8, 1, 1e-4, 500, 10000)
    assert numbers(settings, "dynamics") == (4, 2, 5e-4, 1000, 300000)
    assert [settings.plan(stage).chunk for stage in STAGE_SCHEMAS] == [5000, 2000, 4000]
    assert [settings.effective_batch(stage) for stage in STAGE_SCHEMAS] == [32, 16, 16]


@pytest.mark.parametrize("name", ["baseline", "longrun"])
def test_the_long_profiles_have_the_sizes_of_the_zelda_fork(name: str) -> None:
    training = shipped(name).training
    sizes = (training.patch_size, training.context_length, training.frame_size, training.latent_dim)
    assert sizes == (4, 4, 128, 5)
    assert (training.num_bins, training.n_actions, training.dataset) == (4, 8, "ZELDA")
    assert (training.embed_dim, training.num_heads, training.hidden_dim, training.num_blocks) == (32, 8, 128, 4)


@pytest.mark.requirement("S5")
@pytest.mark.parametrize("name", ["baseline", "longrun"])
def test_the_long_profiles_state_the_stage_gates_of_the_specification(name: str) -> None:
    thresholds = shipped(name).profile.thresholds
    assert thresholds.stage_gates == StageGates()
    gates = read_mapping(PROFILES[name] / "profile.yaml")["thresholds"]["stage_gates"]
    assert gates == StageGates().model_dump()


@pytest.mark.requirement("S5", "G5")
def test_smoke_has_stage_gates_of_its_own_but_the_same_max_mse() -> None:
    smoke = shipped("smoke").profile
    assert smoke.thresholds.stage_gates != StageGates()
    assert smoke.thresholds.max_mse == 0.03
    assert (smoke.thresholds.require_skill_strongest, smoke.thresholds.require_mse_upper) == (True, False)


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("name", ["baseline", "longrun"])
def test_the_long_profiles_require_more_than_the_mse(name: str) -> None:
    settings = shipped(name)
    thresholds = settings.profile.thresholds
    assert (thresholds.max_mse, thresholds.require_mse_upper, thresholds.require_skill) == (0.03, True, True)
    assert (thresholds.min_delta_psnr_db, thresholds.min_action_codes) == (0.5, 3)
    assert settings.profile.require_not_run_free
    assert settings.inference.clips == 256


@pytest.mark.requirement("G5", "S5")
def test_every_long_run_profile_states_the_strict_thresholds_that_score_applies() -> None:
    read = {name: read_mapping(locate_profile(name, REPOSITORY)) for name in profile_names(REPOSITORY)}
    strict = {name: content for name, content in read.items() if content["kind"] == "longrun"}
    assert set(strict) == {"baseline", "longrun", "longrun-crafter", *OF_GAMES}
    for name, content in strict.items():
        stated = {key: value for key, value in content["thresholds"].items() if key != "stage_gates"}
        if name in OF_GAMES:  # a limit of their own, by `tinyworlds-gate limits`
            assert 0 < stated.pop("max_mse") < STRICT_THRESHOLDS.max_mse / 2, name
            stated["max_mse"] = STRICT_THRESHOLDS.max_mse
        assert stated == STRICT_THRESHOLDS.as_record(), name


@pytest.mark.requirement("G5")
@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_measures_strictly_and_with_inferred_actions(name: str) -> None:
    inference = shipped(name).inference
    assert not inference.teacher_forced
    assert inference.use_gt_actions
    assert (inference.temperature, inference.prediction_horizon, inference.context_window) == (0.0, 1, 3)
    assert inference.clips >= 64


def test_smoke_trains_a_stage_in_two_chunks() -> None:
    settings = shipped("smoke")
    chunks = {stage: -(-settings.plan(stage).target_updates // settings.plan(stage).chunk) for stage in STAGE_SCHEMAS}
    assert max(chunks.values()) >= 2


@pytest.mark.requirement("C1", "C2", "C3")
@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_is_aligned(name: str) -> None:
    assert [(check.id, check.verdict) for check in check_alignment(PROFILES[name])] == [
        ("C1", "PASS"),
        ("C2", "PASS"),
        ("C3", "PASS"),
    ]


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_stage_file_and_the_profile_name_the_same_target(name: str) -> None:
    settings = shipped(name)
    for stage in STAGE_SCHEMAS:
        stated = read_mapping(PROFILES[name] / f"{stage}.yaml")["n_updates"]
        assert stated == settings.plan(stage).target_updates == settings.stages[stage].n_updates


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_scripts_can_read_every_profile(name: str) -> None:
    folder = PROFILES[name]
    for stage in STAGE_SCHEMAS:
        run = load_stage_config(stage, folder / f"{stage}.yaml", folder / "training.yaml", [])
        assert run.stage == shipped(name).stages[stage]
    assert load_inference_config(folder / "inference.yaml", []).dataset == shipped(name).training.dataset


def test_a_profile_is_found_by_folder_and_by_file(tmp_path: Path) -> None:
    folder = copy_profile("smoke", tmp_path / "elsewhere")
    for given in ("elsewhere/", folder, folder / "profile.yaml", "elsewhere/profile.yaml"):
        assert resolve_settings(given, {}, project_root=tmp_path).profile_path == folder / "profile.yaml"
    for name in ("profile.yaml", "profile.yml"):
        assert resolve_settings(name, {}, project_root=folder).profile_path == folder / "profile.yaml"


def test_a_project_without_profiles_uses_those_that_ship(tmp_path: Path) -> None:
    assert resolve_settings("smoke", {}, project_root=tmp_path).config_dir == PROFILES["smoke"]


def test_the_project_s_own_profile_comes_first(tmp_path: Path) -> None:
    folder = copy_profile("smoke", tmp_path / "configs/profiles/smoke")
    replace_line(folder / "profile.yaml", "description", "description: ours")
    assert resolve_settings("smoke", {}, project_root=tmp_path).profile.description == "ours"


def test_an_unknown_profile_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no profile `smok`\. Did you mean `smoke`") as caught:
        resolve_settings("smok", {}, project_root=tmp_path)
    assert "baseline, checkout-check, longrun, longrun-crafter, longrun-doom, " in str(caught.value)


def test_an_incomplete_profile_is_refused_with_the_missing_files(tmp_path: Path) -> None:
    folder = copy_profile("smoke", tmp_path / "configs/profiles/mine")
    (folder / "dynamics.yaml").unlink()
    with pytest.raises(
        ConfigError, match=r"configs/profiles/mine lacks dynamics\.yaml; a profile needs all 6 settings files"
    ):
        resolve_settings("mine", {}, project_root=tmp_path)


def test_an_unknown_profile_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    folder = copy_profile("smoke", tmp_path / "configs/profiles/mine")
    replace_line(folder / "profile.yaml", "max_train_retries", "max_train_retry: 5")
    with pytest.raises(ConfigError, match=r"unknown key `max_train_retry`\. Did you mean `max_train_retries`"):
        resolve_settings("mine", {}, project_root=tmp_path)


@pytest.mark.requirement("S5")
def test_checkout_check_judges_no_model_and_lets_every_finite_error_pass() -> None:
    profile = resolve_settings("checkout-check", {}, project_root=REPOSITORY).profile
    assert (profile.judges_model, profile.kind, profile.require_not_run_free) == (False, "smoke", False)
    assert profile.thresholds.max_mse == 1.0, "frames are in [0, 1]"
    assert not profile.thresholds.require_skill
    assert sum(getattr(profile.stages, stage).target_updates for stage in STAGES) <= 100
    assert all(resolve_settings(name, {}, project_root=REPOSITORY).profile.judges_model for name in PROFILES)


def test_paths_for_people_are_relative_inside_the_project_and_never_have_two_dots(tmp_path: Path) -> None:
    project, other = tmp_path / "project", tmp_path / "other"
    project.mkdir()
    other.mkdir()
    assert display_path(project / "configs" / ".." / "a.yaml", project) == "a.yaml"
    assert display_path(project / ".." / "other" / "b.yaml", project) == str(other / "b.yaml")


@pytest.mark.requirement("S2")
@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("min_unique_actions: 3", r"min_unique_actions=3 \(.*profile\.yaml\): 2 action codes .* have at most 2, so"),
        ("min_action_entropy_nats: 0.7", r"min_action_entropy_nats=0\.7 .* have at most 0\.693, so that no model"),
        ("min_action_entropy_nats: 0.69", None),
    ],
)
def test_limits_that_no_model_could_meet_are_refused_at_the_start(
    tmp_path: Path, limits: str, said: str | None
) -> None:
    folder = copy_profile("smoke", tmp_path / "configs/profiles/mine")
    replace_line(folder / "training.yaml", "n_actions", "n_actions: 2")
    latent = f"    latent_actions: {{continue_loss: 0.1, watch_loss: 0.15, {limits}}}"
    replace_line(folder / "profile.yaml", "    latent_actions: {continue_loss", latent)
    if said is None:
        assert resolve_settings("mine", {}, project_root=tmp_path).training.n_actions == 2
        return
    with pytest.raises(ConfigError, match=said):
        resolve_settings("mine", {}, project_root=tmp_path)
