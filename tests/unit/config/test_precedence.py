"""P1: the precedence of settings and the recorded source of each value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.config_files import append, copy_profile, replace_line
from tinyworlds_gate.config.cli_options import OPTION_NAMED, OPTIONS
from tinyworlds_gate.config.load import Settings, resolve_settings
from tinyworlds_gate.errors import ConfigError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = copy_profile("smoke", tmp_path / "configs/profiles/mine")
    replace_line(folder / "dynamics.yaml", "learning_rate", "learning_rate: 2.0e-3")
    return tmp_path


def resolve(project: Path, explicit: Mapping[str, Any] | None = None, **keywords: Any) -> Settings:
    return resolve_settings("mine", explicit or {}, project_root=project, **keywords)


def rate(settings: Settings) -> tuple[float, str]:
    return settings.stages["dynamics"].learning_rate, settings.source_of("dynamics", "learning_rate")


@pytest.mark.requirement("P1")
def test_each_layer_beats_the_one_below_it(project: Path) -> None:
    resumed = {"stages.dynamics.learning_rate": 2e-5}
    explicit = {"init_learning_rate": 3e-5}
    assert rate(resolve(project)) == (2e-3, "configs/profiles/mine/dynamics.yaml")
    assert rate(resolve(project, resumed=resumed)) == (2e-5, "resumed checkpoint")
    given_too = resolve(project, explicit, resumed=resumed)
    assert rate(given_too) == (3e-5, "option --init-learning-rate")
    retuned = given_too.with_retune("dynamics", {"learning_rate": (3e-5, 6e-6)}, "retune T4")
    assert rate(retuned) == (6e-6, "retune T4")


@pytest.mark.requirement("P1")
def test_the_profile_beats_the_settings_files(project: Path) -> None:
    folder = project / "configs/profiles/mine"
    replace_line(folder / "dynamics.yaml", "n_updates", "n_updates: 999")
    append(folder / "profile.yaml", "gate: {clips: 7, context: 2}")
    append(folder / "training.yaml", "held_out_fraction: 0.4")
    resolved = resolve(project)
    assert resolved.stages["dynamics"].n_updates == resolved.plan("dynamics").target_updates != 999
    assert (resolved.inference.clips, resolved.inference.context_window) == (7, 2)
    assert resolved.training.held_out_fraction == resolved.profile.data.held_out_fraction
    source = "profile configs/profiles/mine/profile.yaml"
    assert resolved.provenance["stages.dynamics.n_updates"] == source
    assert resolved.provenance["inference.clips"] == source


@pytest.mark.requirement("P1")
@pytest.mark.parametrize(
    ("name", "value", "key"),
    [(option.name, None, key) for option in OPTIONS if not option.is_general for key in option.keys],
)
def test_every_option_reaches_its_setting(project: Path, name: str, value: Any, key: str) -> None:
    before = resolve(project).table()[key]["value"]
    value = different_from(key, before)
    cell = resolve(project, {name: value}).table()[key]
    assert cell["source"] == f"option --{name.replace('_', '-')}"
    assert cell["value"] == value != before


def different_from(key: str, before: Any) -> Any:
    """Another allowed value of a setting."""
    words = {
        "options.train_stage": "dynamics",
        "options.checkpoint_policy": "latest",
        "options.wandb_source": "local_only",
        "options.history_audit_mode": "wide",
        "options.align_backbone": "inject",
        "training.dataset": "PONG",
        "inference.dataset": "PONG",
    }
    if key in words:
        return words[key]
    if before is None:
        return "results/a/checkpoints"
    if isinstance(before, bool):
        return not before
    if key.endswith(".chunk") and key.startswith("profile.stages"):
        return before - 1
    return before + 1 if isinstance(before, int) else before / 2 if before else 0.5


@pytest.mark.requirement("P1")
@pytest.mark.parametrize("name", sorted(option.name for option in OPTIONS if option.is_general))
def test_a_general_option_reaches_the_trained_stages_only(project: Path, name: str) -> None:
    value = 0.25 if name == "init_learning_rate" else 17
    before = resolve(project).table()
    all_stages = resolve(project, {name: value}).table()
    one_stage = resolve(project, {name: value, "train_stage": "dynamics"}).table()
    for stage in ("video_tokenizer", "latent_actions", "dynamics"):
        for key in OPTION_NAMED[name].keys_of([stage]):
            assert all_stages[key]["value"] == value
            assert one_stage[key]["value"] == (value if stage == "dynamics" else before[key]["value"])


@pytest.mark.requirement("P1")
@pytest.mark.parametrize("order", [1, -1])
def test_a_stage_option_beats_the_general_form_in_any_order(project: Path, order: int) -> None:
    explicit = dict(list({"init_batch_size": 3, "video_init_batch_size": 5}.items())[::order])
    stages = resolve(project, explicit).stages
    assert [stages[s].batch_size_per_gpu for s in ("video_tokenizer", "latent_actions", "dynamics")] == [5, 3, 3]


@pytest.mark.requirement("P1")
def test_the_table_has_every_key_with_a_source(project: Path) -> None:
    resolved = resolve(project, {"max_mse": 0.02})
    table = resolved.table()
    assert table["profile.thresholds.max_mse"] == {"value": 0.02, "source": "option --max-mse"}
    assert table["training.log_every"]["source"] == "configs/profiles/mine/training.yaml"
    assert table["options.checkpoint_policy"] == {"value": "fresh", "source": "built-in default"}
    assert all(cell["source"] for cell in table.values())
    assert set(table) == set(resolved.provenance)


@pytest.mark.requirement("H1", "H2")
def test_the_whole_pipeline_from_new_weights_is_the_default(project: Path) -> None:
    resolved = resolve(project)
    assert resolved.trained_stages == ("video_tokenizer", "latent_actions", "dynamics")
    assert resolved.options.checkpoint_policy == "fresh"


def test_none_trains_nothing(project: Path) -> None:
    assert resolve(project, {"train_stage": "none"}).trained_stages == ()


def test_a_chunk_above_the_target_is_cut_with_a_note(project: Path) -> None:
    resolved = resolve(project, {"dynamics_chunk": 500, "target_updates": 200})
    assert resolved.plan("dynamics").chunk == resolved.plan("dynamics").target_updates == 200
    assert any("dynamics: a chunk of 500 updates (option --dynamics-chunk)" in note for note in resolved.notes)
    assert "cut to the target" in resolved.provenance["profile.stages.dynamics.chunk"]


def test_one_worker_needs_no_ddp(project: Path) -> None:
    resolved = resolve(project, {"nproc_per_node": 1})
    assert resolved.training.distributed.use_ddp is False
    assert resolved.provenance["training.distributed.use_ddp"] == "nproc_per_node is 1"


def test_the_context_follows_from_the_clip_length(project: Path) -> None:
    assert resolve(project).inference.context_window == 3
    assert resolve(project, {"context_window": 2}).inference.context_window == 2


def test_inference_takes_the_split_from_training(project: Path) -> None:
    replace_line(project / "configs/profiles/mine/profile.yaml", "seed", "seed: 5")
    resolved = resolve(project)
    assert resolved.inference.held_out_fraction == resolved.training.held_out_fraction
    assert resolved.training.held_out_fraction == resolved.profile.data.held_out_fraction
    assert resolved.inference.seed == resolved.training.seed == 5


@pytest.mark.parametrize("line", ["dataset: ZELDA", "split_seed: 9"])
def test_an_inference_file_for_other_clips_is_refused(project: Path, line: str) -> None:
    path = project / "configs/profiles/mine/inference.yaml"
    if line.startswith("dataset"):
        replace_line(path, "dataset", line)
    else:
        append(path, line)
    with pytest.raises(ConfigError, match="the gate would not measure the held-out clips"):
        resolve(project)


def test_a_training_key_in_a_stage_file_is_refused(project: Path) -> None:
    append(project / "configs/profiles/mine/dynamics.yaml", "fps: 30")
    replace_line(project / "configs/profiles/mine/training.yaml", "fps", "")
    with pytest.raises(ConfigError, match=r"`fps` is shared by the stages; move it to .*training\.yaml"):
        resolve(project)


def test_an_unknown_option_is_refused_with_the_nearest(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"Unknown option `--max-mes`\. Did you mean `max_mse`"):
        resolve(project, {"max_mes": 0.1})


def test_an_unknown_resumed_key_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"resumed state: unknown key `stages\.dynamics\.lr`"):
        resolve(project, resumed={"stages.dynamics.lr": 1e-3})


def test_a_retry_floor_above_its_start_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"lr_floor 0\.1 is above init_learning_rate"):
        resolve(project, {"retry_lr_floor": 0.1})


def test_a_retune_to_a_value_that_is_not_allowed_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="retune T1 of dynamics: `batch_size_per_gpu` is 0"):
        resolve(project).with_retune("dynamics", {"batch_size_per_gpu": 0}, "retune T1")


def test_a_retune_leaves_the_settings_it_came_from_alone(project: Path) -> None:
    before = resolve(project)
    before.with_retune("dynamics", {"batch_size_per_gpu": 1}, "retune T1")
    assert before.stages["dynamics"].batch_size_per_gpu == 6
    assert before.source_of("dynamics", "batch_size_per_gpu") == "configs/profiles/mine/dynamics.yaml"


def test_a_checkpoint_option_is_relative_to_the_project_root(project: Path) -> None:
    resolved = resolve(project, {"latent_checkpoint": "results/r/latent_actions/checkpoints"})
    assert resolved.checkpoint_option("latent_actions") == project / "results/r/latent_actions/checkpoints"
    assert resolved.checkpoint_option("dynamics") is None


VALUES = {
    "yaml": st.none() | st.integers(1, 99),
    "resumed": st.none() | st.integers(100, 199),
    "general": st.none() | st.integers(200, 299),
    "own": st.none() | st.integers(300, 399),
    "retune": st.none() | st.integers(400, 499),
}


@pytest.mark.requirement("P1")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layers=st.fixed_dictionaries(VALUES))
def test_the_highest_layer_that_sets_a_value_always_wins(project: Path, layers: dict[str, int | None]) -> None:
    path = project / "configs/profiles/mine/video_tokenizer.yaml"
    base = layers["yaml"] or 8
    replace_line(path, "batch_size_per_gpu", f"batch_size_per_gpu: {base}")
    explicit = {
        name: layers[layer]
        for name, layer in (("init_batch_size", "general"), ("video_init_batch_size", "own"))
        if layers[layer] is not None
    }
    resumed = {} if layers["resumed"] is None else {"stages.video_tokenizer.batch_size_per_gpu": layers["resumed"]}
    resolved = resolve(project, explicit, resumed=resumed)
    if layers["retune"] is not None:
        resolved = resolved.with_retune("video_tokenizer", {"batch_size_per_gpu": layers["retune"]}, "retune T1")
    spoken = [base, *(layers[name] for name in ("resumed", "general", "own", "retune") if layers[name] is not None)]
    assert resolved.stages["video_tokenizer"].batch_size_per_gpu == spoken[-1]
