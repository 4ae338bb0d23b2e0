"""C1, C2, C3: settings files that do not agree are reported before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.config_files import append, copy_profile, replace_line
from tinyworlds_gate.config.alignment import (
    Alignment,
    Check,
    backbone_text,
    beside,
    check_alignment,
    check_checkout,
    check_folders,
    effective_backbone,
)
from tinyworlds_gate.errors import ConfigError
from tinyworlds_gate.names import BACKBONE_KEYS, SIZE_KEYS

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
    message = reason(folder, "C1")
    assert f"`{key}` is 1024 in " in message
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
    append(folder / "dynamics.yaml", "num_bins: 4")
    missing = f"`num_bins` is missing in {folder / 'training.yaml'}; add it there, all stages take it from there."
    assert reason(folder, "C1") == missing


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
def test_a_backbone_key_that_no_file_sets_is_named(folder: Path) -> None:
    replace_line(folder / "training.yaml", "num_blocks", "")
    append(folder / "dynamics.yaml", "num_blocks: 4")
    assert "`num_blocks` is set neither in" in reason(folder, "C2")
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
    message = reason(folder, "C3")
    assert "hard-codes a checkpoint path" in message
    assert str(path) in message
    assert "--video-checkpoint" in message


@pytest.mark.requirement("C3")
@pytest.mark.parametrize(
    "line", ["keep_checkpoints: 3", "save_path: ''", "note: trained at night", "use_moe: false", "resume: ' '"]
)
def test_other_values_are_no_checkpoint(folder: Path, line: str) -> None:
    append(folder / "dynamics.yaml", line)
    assert verdicts(folder)["C3"] == "PASS"


def test_keys_of_another_project_are_tolerated(folder: Path) -> None:
    append(folder / "training.yaml", "use_moe: true\nmoe: {experts: 4}")
    assert set(verdicts(folder).values()) == {"PASS"}


def test_all_failures_are_reported_at_once(folder: Path) -> None:
    append(folder / "dynamics.yaml", "patch_size: 8\nembed_dim: 64\nmodel_file: a.pt")
    assert verdicts(folder) == {"C1": "FAIL", "C2": "FAIL", "C3": "FAIL"}


def test_a_missing_stage_file_is_named(folder: Path) -> None:
    (folder / "dynamics.yaml").unlink()
    with pytest.raises(ConfigError, match=r"dynamics\.yaml does not exist"):
        check_alignment(folder)


OWN = {"video_tokenizer": (32, 4), "latent_actions": (32, 2), "dynamics": (512, 18)}


@pytest.fixture
def unaligned(folder: Path) -> Path:
    """As the original's stock files: every stage file has a backbone of its own, and training.yaml has none."""
    for key in BACKBONE_KEYS:
        replace_line(folder / "training.yaml", key, "")
    for stage, (width, blocks) in OWN.items():
        append(folder / f"{stage}.yaml", f"embed_dim: {width}\nnum_heads: 8\nhidden_dim: 128\nnum_blocks: {blocks}")
    return folder


def c2(folder: Path, align: Alignment, **fixed: int) -> Check:
    shown = {f"{name}.yaml": folder / f"{name}.yaml" for name in ("training", *OWN)}
    return next(check for check in check_checkout(folder, shown, align, fixed) if check.id == "C2")


@pytest.mark.requirement("C2")
def test_strict_refuses_stages_of_different_sizes_and_names_both_options(unaligned: Path) -> None:
    check = c2(unaligned, "strict")
    assert check.verdict == "FAIL"
    assert "--align-backbone inject gives every stage embed_dim 32, num_heads 8, hidden_dim 128, num_blocks 4" in (
        check.reason
    )
    assert "--align-backbone report trains each stage with its own sizes" in check.reason


@pytest.mark.requirement("C2")
def test_the_sentence_of_strict_is_right_after_one_follows_it(unaligned: Path) -> None:
    assert "set it once, in" in c2(unaligned, "strict").reason
    append(unaligned / "training.yaml", "embed_dim: 32\nnum_heads: 8\nhidden_dim: 128\nnum_blocks: 4")
    assert "remove it from latent_actions.yaml" in c2(unaligned, "strict").reason
    for stage in OWN:
        for key in BACKBONE_KEYS:
            replace_line(unaligned / f"{stage}.yaml", key, "")
    assert c2(unaligned, "strict").verdict == "PASS"


@pytest.mark.requirement("C2")
def test_inject_passes_with_what_every_stage_gets_and_what_that_replaces(unaligned: Path) -> None:
    check = c2(unaligned, "inject")
    assert check.verdict == "PASS"
    assert "gives every stage embed_dim 32, num_heads 8, hidden_dim 128, num_blocks 4" in check.reason
    assert "num_blocks 2 of latent_actions.yaml, embed_dim 512 of dynamics.yaml" in check.reason
    append(unaligned / "training.yaml", "num_blocks: 6")
    assert "hidden_dim 128, num_blocks 6" in c2(unaligned, "inject").reason


@pytest.mark.requirement("C2")
def test_inject_without_any_value_fails_with_the_files(unaligned: Path) -> None:
    replace_line(unaligned / "video_tokenizer.yaml", "num_heads", "")
    check = c2(unaligned, "inject")
    assert check.verdict == "FAIL"
    assert "video_tokenizer.yaml sets num_heads; set it in one of them" in check.reason


@pytest.mark.requirement("C2")
def test_report_is_degraded_with_the_table_of_sizes_or_passes_where_they_agree(unaligned: Path) -> None:
    check = c2(unaligned, "report")
    assert check.verdict == "DEGRADED"
    assert "video_tokenizer embed_dim 32, num_heads 8, hidden_dim 128, num_blocks 4; latent_actions embed_dim 32" in (
        check.reason
    )
    assert check.reason.endswith("dynamics embed_dim 512, num_heads 8, hidden_dim 128, num_blocks 18.")
    append(unaligned / "training.yaml", "embed_dim: 32\nnum_blocks: 4")
    assert c2(unaligned, "report").verdict == "PASS"
    replace_line(unaligned / "dynamics.yaml", "num_heads", "")
    assert c2(unaligned, "report").verdict == "FAIL"


@pytest.mark.requirement("C2")
def test_words_of_the_description_count_as_the_backbone_of_every_stage(unaligned: Path) -> None:
    assert c2(unaligned, "strict", embed_dim=32, num_blocks=2).verdict == "PASS"
    assert c2(unaligned, "report", embed_dim=32, num_blocks=2).verdict == "PASS"


@pytest.mark.requirement("C3")
def test_a_hard_coded_path_of_a_checkout_has_a_way_out_that_edits_nothing(unaligned: Path) -> None:
    append(unaligned / "dynamics.yaml", "pretrained: weights/dynamics.pt")
    shown = {f"{name}.yaml": unaligned / f"{name}.yaml" for name in ("training", *OWN)}
    (check,) = (one for one in check_checkout(unaligned, shown, "strict") if one.id == "C3")
    assert "or in a copy outside the checkout that --dynamics-config names" in check.reason


@pytest.mark.requirement("C1", "C2", "C3")
def test_a_rule_holds_when_it_holds_in_every_folder(folder: Path, tmp_path: Path) -> None:
    other = copy_profile("longrun", tmp_path / "other")
    append(other / "dynamics.yaml", "patch_size: 8")
    whole = [(check.id, check.verdict, check.reason) for check in check_alignment(folder)]
    assert [(check.id, check.verdict, check.reason) for check in check_folders({folder: folder})] == whole
    for order in ((folder, other), (other, folder)):
        checks = check_folders({one: one for one in order})
        assert [(check.id, check.verdict) for check in checks] == [("C1", "FAIL"), ("C2", "PASS"), ("C3", "PASS")]
        assert checks[0].reason == (
            f"`patch_size` is 8 in {other / 'dynamics.yaml'} but 4 in {other / 'training.yaml'}; remove it from "
            "dynamics.yaml, the stages take it from training.yaml."
        )
        assert checks[1].reason == f"{', '.join(BACKBONE_KEYS)} are the same in every stage."
    append(folder / "dynamics.yaml", "patch_size: 8")
    assert check_folders({folder: other, other: other})[0].reason == checks[0].reason, "the same sentence once"
    shown = check_alignment(folder, Path("configs"))[0].reason
    assert shown.startswith("`patch_size` is 8 in configs/dynamics.yaml but 4 in configs/training.yaml; remove")


def test_the_project_s_configs_are_checked_beside_another_profile(folder: Path, tmp_path: Path) -> None:
    assert folder == tmp_path / "configs"
    assert beside(tmp_path / "kept", tmp_path) == [folder]
    assert beside(folder, tmp_path) == []
    (folder / "dynamics.yaml").unlink()
    assert beside(tmp_path / "kept", tmp_path) == []


def test_training_yaml_takes_precedence_in_a_backbone_and_null_is_unset() -> None:
    training, stage = {"embed_dim": 0, "num_heads": None}, {"embed_dim": 1, "num_heads": 2, "hidden_dim": None, "x": 3}
    assert effective_backbone(training, stage) == {"embed_dim": 0, "num_heads": 2}
    assert backbone_text({"num_heads": 2, "embed_dim": 0}) == "embed_dim 0, num_heads 2"


@pytest.mark.requirement("C2")
def test_the_sentences_of_c2(unaligned: Path) -> None:
    ways = "Without an edit: {}--align-backbone report trains each stage with its own sizes (C2 is then DEGRADED)."
    tokenizer = "embed_dim 32, num_heads 8, hidden_dim 128, num_blocks 4"
    given = f"--align-backbone inject gives every stage {tokenizer}; "
    assert c2(unaligned, "strict").reason.endswith(f" {ways.format(given)}")
    same = f"{', '.join(BACKBONE_KEYS)} are the same in every stage."
    assert c2(unaligned, "inject", embed_dim=32).reason == (
        f"--align-backbone inject gives every stage {tokenizer} on its command line; this replaces num_blocks 2 of "
        "latent_actions.yaml, num_blocks 18 of dynamics.yaml."
    )
    replace_line(unaligned / "dynamics.yaml", "num_blocks", "")
    replace_line(unaligned / "latent_actions.yaml", "num_blocks", "")
    training = unaligned / "training.yaml"
    assert c2(unaligned, "report", embed_dim=32).reason == (
        f"--align-backbone report: nothing sets num_blocks for {unaligned / 'latent_actions.yaml'}, num_blocks for "
        f"{unaligned / 'dynamics.yaml'}; set it in that file."
    )
    assert c2(unaligned, "strict", embed_dim=32).reason.startswith(
        f"`num_blocks` is set neither in {training} nor in latent_actions.yaml, dynamics.yaml; set it once, in "
        f"{training}. "
    )
    replace_line(unaligned / "video_tokenizer.yaml", "num_blocks", "num_blocks: null")
    assert c2(unaligned, "strict", embed_dim=32).reason.endswith(f" {ways.format('')}")
    assert c2(unaligned, "inject", embed_dim=32).reason == (
        f"--align-backbone inject: neither {training} nor {unaligned / 'video_tokenizer.yaml'} sets num_blocks; set "
        "it in one of them."
    )
    append(training, "num_blocks: 4")
    replace_line(unaligned / "video_tokenizer.yaml", "num_blocks", "")
    assert c2(unaligned, "strict", embed_dim=32) == Check("C2", "PASS", same)
    assert c2(unaligned, "report", embed_dim=32) == Check("C2", "PASS", same)
    assert c2(unaligned, "inject", embed_dim=32).reason.endswith("num_blocks 4 on its command line.")


@pytest.mark.requirement("C1", "C3")
def test_the_sentences_of_c1_and_c3(folder: Path) -> None:
    assert reason(folder, "C1") == f"{', '.join(SIZE_KEYS)} come from training.yaml."
    assert reason(folder, "C3") == "No stage file names a checkpoint; paths are injected at run time."
    append(folder / "dynamics.yaml", "models: [{ckpt: a}, b_step_7]")
    way = (
        "; the loop injects this run's checkpoint (by hand: --video-checkpoint, --latent-checkpoint, "
        "--dynamics-checkpoint)."
    )
    name = f"{folder / 'dynamics.yaml'} hard-codes a checkpoint path:"
    assert reason(folder, "C3") == (
        f"{name} `models.ckpt: a`. Set it to null{way} {name} `models: b_step_7`. Set it to null{way}"
    )
