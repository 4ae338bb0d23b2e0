"""C1, C2, C3: settings files that do not agree are told before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.config_files import append, copy_profile, replace_line
from tinyworlds_gate.config.alignment import check_alignment, require_alignment
from tinyworlds_gate.config.schema import BACKBONE_KEYS, SIZE_KEYS
from tinyworlds_gate.errors import ConfigError

STAGE_FILES = ("video_tokenizer.yaml", "latent_actions.yaml", "dynamics.yaml")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_profile("longrun", tmp_path / "configs")


def verdicts(folder: Path) -> dict[str, str]:
    return {check.id: check.verdict for check in check_alignment(folder)}


def reason(folder: Path, rule: str) -> str:
    return next(check.reason for check in check_alignment(folder) if check.id == rule)


@pytest.mark.requirement("C1")
@pytest.mark.parametrize("name", STAGE_FILES)
@pytest.mark.parametrize("key", SIZE_KEYS)
def test_a_stage_with_another_size_is_refused_with_both_files_and_values(folder: Path, name: str, key: str) -> None:
    append(folder / name, f"{key}: 1024")
    assert verdicts(folder) == {"C1": "FAIL", "C2": "PASS", "C3": "PASS"}
    with pytest.raises(ConfigError, match=f"C1: `{key}` is 1024 in ") as caught:
        require_alignment(folder)
    message = str(caught.value)
    assert str(folder / name) in message
    assert str(folder / "training.yaml") in message
    assert f"remove it from {name}" in message


@pytest.mark.requirement("C1")
def test_a_stage_that_repeats_the_shared_value_agrees(folder: Path) -> None:
    append(folder / "dynamics.yaml", "patch_size: 4")
    assert verdicts(folder)["C1"] == "PASS"


@pytest.mark.requirement("C1")
def test_a_size_that_training_yaml_lacks_is_named(folder: Path) -> None:
    replace_line(folder / "training.yaml", "num_bins", "")
    assert "`num_bins` is missing in" in reason(folder, "C1")


@pytest.mark.requirement("C2")
@pytest.mark.parametrize("key", BACKBONE_KEYS)
def test_a_stage_with_another_backbone_is_refused(folder: Path, key: str) -> None:
    append(folder / "latent_actions.yaml", f"{key}: 1024")
    assert verdicts(folder) == {"C1": "PASS", "C2": "FAIL", "C3": "PASS"}
    assert f"`{key}` is 1024 in {folder / 'latent_actions.yaml'}" in reason(folder, "C2")


@pytest.mark.requirement("C2")
@pytest.mark.parametrize(("third", "verdict"), [(32, "PASS"), (64, "FAIL")])
def test_a_backbone_in_the_stage_files_must_be_the_same_there(folder: Path, third: int, verdict: str) -> None:
    replace_line(folder / "training.yaml", "embed_dim", "")
    for name, value in zip(STAGE_FILES, (32, 32, third), strict=True):
        append(folder / name, f"embed_dim: {value}")
    assert verdicts(folder)["C2"] == verdict
    if verdict == "FAIL":
        assert f"`embed_dim` is 32 in {folder / STAGE_FILES[0]} but 64 in" in reason(folder, "C2")


@pytest.mark.requirement("C2")
def test_a_backbone_that_stands_nowhere_is_named(folder: Path) -> None:
    replace_line(folder / "training.yaml", "num_blocks", "")
    append(folder / "dynamics.yaml", "num_blocks: 4")
    assert "`num_blocks` stands neither in" in reason(folder, "C2")
    assert "video_tokenizer.yaml, latent_actions.yaml" in reason(folder, "C2")


@pytest.mark.requirement("C3")
@pytest.mark.parametrize(
    "lines",
    [
        "video_tokenizer_path: results/a/video_tokenizer/checkpoints/video_tokenizer_step_899",
        "latent_actions_path: my_model",
        "checkpoint: dynamics_step_10",
        "pretrained: weights/tokenizer.pt",
        "init_from: results/zelda/video_tokenizer",
        "model:\n  tokenizer:\n    ckpt: somewhere",
        "models: [results/a/b]",
        "models:\n  - {name: a, video_tokenizer_path: b}",
        "resume_dir: old_run",
    ],
)
@pytest.mark.parametrize("name", STAGE_FILES)
def test_a_hard_coded_checkpoint_is_refused_under_any_key(folder: Path, name: str, lines: str) -> None:
    path = folder / name
    key = lines.split(":")[0]
    if path.read_text().count(f"\n{key}:"):
        replace_line(path, key, lines)
    else:
        append(path, lines)
    assert verdicts(folder) == {"C1": "PASS", "C2": "PASS", "C3": "FAIL"}
    with pytest.raises(ConfigError, match="hard-codes a checkpoint path") as caught:
        require_alignment(folder)
    assert str(path) in str(caught.value)
    assert "--video-checkpoint" in str(caught.value)


@pytest.mark.requirement("C3")
@pytest.mark.parametrize("line", ["keep_checkpoints: 3", "save_path: ''", "note: trained at night", "use_moe: false"])
def test_other_values_are_no_checkpoint(folder: Path, line: str) -> None:
    append(folder / "dynamics.yaml", line)
    assert verdicts(folder)["C3"] == "PASS"


def test_keys_of_another_project_are_tolerated(folder: Path) -> None:
    append(folder / "training.yaml", "use_moe: true\nmoe: {experts: 4}")
    assert set(verdicts(folder).values()) == {"PASS"}


def test_all_failures_are_told_at_once(folder: Path) -> None:
    append(folder / "dynamics.yaml", "patch_size: 8\nembed_dim: 64\nmodel_file: a.pt")
    with pytest.raises(ConfigError, match=r"(?s)C1: .*C2: .*C3: "):
        require_alignment(folder)


def test_a_missing_stage_file_is_named(folder: Path) -> None:
    (folder / "dynamics.yaml").unlink()
    with pytest.raises(ConfigError, match=r"dynamics\.yaml does not exist"):
        check_alignment(folder)
