"""Settings of a stage or an inference run, from its files and its ``key=value`` arguments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.config_files import append, copy_profile, replace_line
from tinyworlds_gate.config.load import resolve_settings
from tinyworlds_gate.config.schema import DynamicsConfig, TrainingConfig
from tinyworlds_gate.config.stage_config import StageRunConfig, load_inference_config, load_stage_config
from tinyworlds_gate.config.yaml_io import field_paths, parse_value, read_mapping
from tinyworlds_gate.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_profile("smoke", tmp_path / "configs")


def load(folder: Path, *words: str, stage: str = "dynamics") -> StageRunConfig:
    return load_stage_config(stage, folder / f"{stage}.yaml", folder / "training.yaml", words)


def test_an_argument_on_the_command_line_beats_both_files(folder: Path) -> None:
    run = load(folder, "learning_rate=3e-4", "n_updates=200", "distributed.use_ddp=false")
    assert (run.stage.learning_rate, run.stage.n_updates) == (3e-4, 200)
    assert run.training.distributed.use_ddp is False


def test_training_yaml_beats_the_stage_file(folder: Path) -> None:
    append(folder / "dynamics.yaml", "patch_size: 4")
    append(folder / "training.yaml", "log_interval: 7")
    run = load(folder)
    assert run.training.patch_size == 8
    assert run.stage.log_interval == 7


def test_the_stage_file_supplies_what_training_yaml_lacks(folder: Path) -> None:
    replace_line(folder / "training.yaml", "embed_dim", "")
    append(folder / "dynamics.yaml", "embed_dim: 32")
    run = load(folder)
    assert run.training.embed_dim == 32


def test_what_no_file_states_is_a_built_in_default(folder: Path) -> None:
    run = load(folder)
    assert run.stage.max_grad_norm == 1.0


def test_a_group_may_be_given_as_one_mapping(folder: Path) -> None:
    run = load(folder, "distributed={use_ddp: false}")
    assert (run.training.distributed.use_ddp, run.training.distributed.reshard_after_forward) == (False, True)


def test_a_group_without_a_mapping_in_a_file_is_refused(folder: Path) -> None:
    append(folder / "profile.yaml", "gate: 3")
    with pytest.raises(ConfigError, match=r"profile\.yaml: `gate` is a group of settings"):
        resolve_settings(folder, {}, project_root=folder)


def test_the_last_argument_of_a_key_counts(folder: Path) -> None:
    assert load(folder, "n_updates=5", "n_updates=9").stage.n_updates == 9


def test_a_path_and_null_keep_their_types(folder: Path) -> None:
    run = load(folder, "video_tokenizer_path=results/a/video_tokenizer", "latent_actions_path=null")
    assert isinstance(run.stage, DynamicsConfig)
    assert run.stage.video_tokenizer_path == "results/a/video_tokenizer"
    assert run.stage.latent_actions_path is None


@pytest.mark.parametrize("stage", ["video_tokenizer", "latent_actions"])
def test_a_key_of_another_stage_is_refused(folder: Path, stage: str) -> None:
    with pytest.raises(ConfigError, match="unknown key `video_tokenizer_path`"):
        load(folder, "video_tokenizer_path=x", stage=stage)


def test_an_argument_without_an_equals_sign_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="`n_updates` has no `=`; write settings as key=value"):
        load(folder, "n_updates")


def test_an_unknown_argument_is_refused_with_the_nearest_key(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key `learning_rat`\. Did you mean `learning_rate`"):
        load(folder, "learning_rat=1e-3")


def test_an_unknown_key_in_a_file_names_file_and_nearest_key(folder: Path) -> None:
    append(folder / "dynamics.yaml", "batch_size: 4")
    with pytest.raises(
        ConfigError, match=r"dynamics\.yaml: unknown key `batch_size`\. Did you mean `batch_size_per_gpu`"
    ):
        load(folder)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("learning_rate=fast", "`learning_rate` is 'fast'"),
        ("learning_rate=.nan", "`learning_rate` is nan"),
        ("learning_rate=0", "`learning_rate` is 0; input should be greater than 0"),
        ("n_updates=2.5", "`n_updates` is 2.5"),
        ("n_updates=true", "`n_updates` is True"),
        ("batch_size_per_gpu=0", "`batch_size_per_gpu` is 0; input should be greater than or equal to 1"),
        ("amp=yes please", "`amp` is 'yes please'"),
        ("device=tpu", "`device` is 'tpu'"),
        ("patch_size=7", "frame_size 72 is not a multiple of patch_size 7"),
        ("num_heads=5", "embed_dim 64 is not a multiple of num_heads 5"),
        ("n_actions=6", "n_actions 6 is not a power of two"),
        ("schedule_end=1", "schedule_end 1 is before n_updates "),
        ("schedule_start=999999", "schedule_start 999999 must be before the schedule's end "),
        (
            "distributed=3",
            "`distributed` is a group of settings, not one value; set them by name, e.g. `distributed.use_ddp`",
        ),
        ("frame_size=[1", "the value is not valid YAML"),
        (
            "preload_ratio=0.5",
            "`preload_ratio` is not supported: the embedded reference reads all frames",
        ),
        (
            "use_actions=false",
            "`use_actions` is not supported: the embedded dynamics always follows latent actions",
        ),
    ],
)
def test_a_bad_value_is_reported_with_its_key_and_value(folder: Path, word: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, word)
    assert said in str(caught.value)


def test_a_missing_size_is_named(folder: Path) -> None:
    replace_line(folder / "training.yaml", "num_bins", "")
    with pytest.raises(ConfigError, match="`num_bins` is missing; add it"):
        load(folder)


def test_an_unknown_stage_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="`tokenizer` is not a stage; use one of video_tokenizer"):
        load_stage_config("tokenizer", folder / "dynamics.yaml", folder / "training.yaml", [])


def test_settings_are_frozen(folder: Path) -> None:
    training = load(folder).training
    with pytest.raises(ValueError, match="frozen"):
        training.patch_size = 4


def test_arguments_beat_the_inference_file(folder: Path) -> None:
    inference = load_inference_config(folder / "inference.yaml", ["generation_steps=2", "dynamics_path=a/b"])
    assert (inference.generation_steps, inference.dynamics_path) == (2, "a/b")
    assert inference.clips == read_mapping(folder / "inference.yaml")["clips"]
    assert inference.data_path is None


def test_an_unknown_inference_argument_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown key `teacher_force`\. Did you mean `teacher_forced`"):
        load_inference_config(folder / "inference.yaml", ["teacher_force=true"])


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("use_interactive_mode=true", "`use_interactive_mode` is not supported: the gate runs unattended"),
        ("use_actions=false", "`use_actions` is not supported: the embedded dynamics always follows latent actions"),
        (
            "use_gt_actions=false",
            "`use_gt_actions` is not supported: .*random actions cannot be compared with the true future",
        ),
        ("sample_index=5", "`sample_index` is not supported: .*one clip is not enough for a measurement"),
        ("preload_ratio=0.1", "`preload_ratio` is not supported: .*reads all frames; set it to 1.0 or null"),
    ],
)
def test_inference_settings_that_the_reference_cannot_honour_are_refused(folder: Path, word: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_inference_config(folder / "inference.yaml", [word])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"inference\.yaml does not exist"):
        load_inference_config(tmp_path / "inference.yaml", [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2\n", "the key 'a' appears twice"),
        ("a: [1\n", "not valid YAML"),
        ("- a\n", "contains a list; it must contain `key: value` lines"),
        ("1: a\n", "the key 1 is not a string"),
    ],
)
def test_a_malformed_file_is_refused_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "training.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"training\.yaml") as caught:
        read_mapping(path)
    assert said in str(caught.value)


def test_a_binary_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_mapping(path)


def test_an_empty_file_holds_no_settings(tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    path.write_text("# nothing\n")
    assert read_mapping(path) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-4", 3e-4), ("1E5", 1e5), ("2.5", 2.5), ("8", 8), ("false", False), ("null", None), ("a/b c", "a/b c")],
)
def test_values_are_typed_as_a_person_expects(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_no_key_belongs_to_training_and_to_a_stage() -> None:
    assert not set(field_paths(TrainingConfig)) & set(field_paths(DynamicsConfig))


def test_loading_settings_does_not_import_torch() -> None:
    code = (
        "import sys, tinyworlds_gate.config.load, tinyworlds_gate.config.alignment, tinyworlds_gate.plugin.options, "
        "tinyworlds_gate.stages.verdicts, tinyworlds_gate.stages.retune; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
