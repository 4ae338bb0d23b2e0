"""Sizes read from checkpoints and whether three belong together (C4).

pytest tests/unit/checkpoints/test_sizes.py
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tests.helpers.checkpoint_files import FOREIGN_STEPS, copy_foreign, foreign_folder, optimizer_state, write_ours
from tests.helpers.untrained_checkpoints import write_untrained
from tinyworlds_gate.checkpoints.agreement import agreement_text, check_agreement
from tinyworlds_gate.checkpoints.describe import describe_checkpoint, sizes_of_weights, why_unreadable
from tinyworlds_gate.checkpoints.layout import CheckpointRef
from tinyworlds_gate.checkpoints.read import read_model_state, read_state
from tinyworlds_gate.checkpoints.write import write_checkpoint
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.rollout.world_models import load_trained
from tinyworlds_gate.run.journal import Journal

FORK_SIZES = {
    "frame_size": 128,
    "patch_size": 4,
    "embed_dim": 32,
    "num_heads": 8,
    "hidden_dim": 128,
    "num_blocks": 4,
    "context_length": 4,
}
CODES = {
    "video_tokenizer": {"latent_dim": 5, "num_bins": 4},
    "latent_actions": {"n_actions": 8},
    "dynamics": {"latent_dim": 5, "num_bins": 4, "n_actions": 8},
}


def three_of_ours(parent: Path, **dynamics_config: int) -> tuple[CheckpointRef, CheckpointRef, CheckpointRef]:
    video = write_ours(parent, "video_tokenizer", 1)
    latent = write_ours(parent, "latent_actions", 2)
    hashes = {"tokenizer_sha256": video.model_sha256, "latent_actions_sha256": latent.model_sha256}
    return video, latent, write_ours(parent, "dynamics", 3, manifest=hashes, **dynamics_config)


def failures(findings: list[tuple[str, bool, str]]) -> list[str]:
    assert {name for name, _, _ in findings} == {"C4"}
    return [sentence for _, holds, sentence in findings if not holds]


@pytest.mark.requirement("C4")
@pytest.mark.parametrize("stage", FOREIGN_STEPS)
def test_the_sizes_of_a_fork_s_checkpoint_are_read(stage: str) -> None:
    assert describe_checkpoint(foreign_folder(stage)).known() == FORK_SIZES | CODES[stage]


@pytest.mark.parametrize("stage", FOREIGN_STEPS)
def test_each_size_says_where_it_was_read(stage: str) -> None:
    sizes = describe_checkpoint(foreign_folder(stage))
    assert sizes.sources.keys() == sizes.known().keys()
    assert sizes.sources["embed_dim"].startswith("tensor ")
    assert sizes.sources["num_heads"] == "config in state.pt"
    assert sizes.conflicts == ()


@pytest.mark.parametrize("stage", FOREIGN_STEPS)
def test_without_a_config_the_shapes_alone_tell_most_sizes(stage: str, tmp_path: Path) -> None:
    folder = copy_foreign(tmp_path, stage, optimizer=False)
    torch.save({"step": FOREIGN_STEPS[stage]}, folder / "state.pt")
    backbone = {"embed_dim": 32, "hidden_dim": 128, "num_blocks": 4}
    patch = {} if stage == "dynamics" else {"patch_size": 4}
    assert describe_checkpoint(folder).known() == backbone | patch | CODES[stage]


@pytest.mark.parametrize("hidden_dim", [96, 97, 98, 128, 129, 1, 2])
def test_the_hidden_width_is_read_up_to_what_the_shapes_keep(hidden_dim: int) -> None:
    inner = 2 * hidden_dim // 3
    read, _ = sizes_of_weights("dynamics", {"transformer.blocks.0.ffn.w_v.weight": torch.empty(inner, 8)})["hidden_dim"]
    assert 2 * read // 3 == inner
    assert read in (hidden_dim, hidden_dim - 1)


def test_a_config_that_its_own_tensors_contradict_is_reported(tmp_path: Path) -> None:
    sizes = describe_checkpoint(write_ours(tmp_path, "dynamics", 1, embed_dim=64, num_bins=5))
    assert (sizes.embed_dim, sizes.num_bins) == (32, 4)
    assert len(sizes.conflicts) == 2
    assert (
        "config says embed_dim=64, its tensor transformer.blocks.0.ffn.w_v.weight (85, 32) says 32"
        in sizes.conflicts[0]
    )


def test_sizes_that_do_not_divide_are_reported(tmp_path: Path) -> None:
    sizes = describe_checkpoint(write_ours(tmp_path, "dynamics", 1, num_heads=5, frame_size=130))
    assert [text.partition(": ")[2] for text in sizes.conflicts] == [
        "num_heads=5 does not divide embed_dim=32",
        "patch_size=4 does not divide frame_size=130",
    ]


def test_weights_of_another_stage_or_of_no_stage_are_refused(tmp_path: Path) -> None:
    swapped = copy_foreign(tmp_path, "dynamics", 1, optimizer=False)
    torch.save(read_model_state(foreign_folder("latent_actions")), swapped / "model_state_dict.pt")
    with pytest.raises(CheckpointError, match="named dynamics, but its weights are those of latent_actions"):
        describe_checkpoint(swapped)
    torch.save({"fc.weight": torch.ones(2)}, swapped / "model_state_dict.pt")
    with pytest.raises(CheckpointError, match="those of no TinyWorlds model; give a checkpoint of dynamics"):
        describe_checkpoint(swapped)


@pytest.mark.parametrize(
    ("stage", "weights", "reason"),
    [
        ("dynamics", {"latent_embed.weight": (8, 3), "output_mlp.weight": (65, 8)}, "65 entries, which is not 1 ×"),
        ("video_tokenizer", {"encoder.patch_embed.proj.weight": (8, 50, 1, 1)}, "50 entries, which is not 3 ×"),
        ("dynamics", {"latent_embed.weight": (8,)}, r"latent_embed.weight has shape \(8,\)"),
    ],
)
def test_a_shape_that_no_model_has_is_refused(stage: str, weights: dict[str, tuple[int, ...]], reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason):
        sizes_of_weights(stage, {name: torch.empty(shape) for name, shape in weights.items()})


@pytest.mark.requirement("C4")
def test_the_fork_s_three_checkpoints_agree_with_each_other_and_with_its_configs() -> None:
    video, latent, dynamics = (foreign_folder(stage) for stage in FOREIGN_STEPS)
    findings = check_agreement(video, latent, dynamics, FORK_SIZES | CODES["dynamics"])
    assert failures(findings) == []
    assert len(findings) == 12, "ten sizes and the two checkpoints that dynamics was trained on"


@pytest.mark.requirement("C4")
def test_three_of_ours_agree_and_dynamics_knows_what_it_was_trained_on(tmp_path: Path) -> None:
    findings = check_agreement(*three_of_ours(tmp_path), FORK_SIZES)
    assert failures(findings) == []
    assert sum("was trained on" in sentence for _, _, sentence in findings) == 2


def test_equal_weights_have_equal_hashes_at_any_step(tmp_path: Path) -> None:
    assert write_ours(tmp_path, "dynamics", 1).model_sha256 == write_ours(tmp_path, "dynamics", 2).model_sha256


@pytest.mark.requirement("C4")
@pytest.mark.parametrize("which", [0, 1])
def test_a_tokenizer_or_latent_action_model_that_dynamics_was_not_trained_on_is_reported(
    which: int, tmp_path: Path
) -> None:
    refs = list(three_of_ours(tmp_path))
    stage = refs[which].stage
    weights = read_model_state(refs[which].path)
    name = "encoder.patch_embed.proj.bias"
    refs[which] = write_checkpoint(
        tmp_path,
        stage,
        60,
        model_state=weights | {name: weights[name] + 1e-3},
        optim_state=optimizer_state(),
        state={"config": read_state(refs[which].path)["config"]},
    )
    (sentence,) = failures(check_agreement(refs[0], refs[1], refs[2]))
    assert f"was trained on a {stage} with SHA-256" in sentence
    assert f"but {stage}_step_60 has" in sentence


def test_a_dynamics_checkpoint_of_ours_that_records_no_hashes_is_reported(tmp_path: Path) -> None:
    video, latent, _ = three_of_ours(tmp_path)
    findings = check_agreement(video, latent, write_ours(tmp_path, "dynamics", 9))
    assert [text.partition("record ")[2].partition(" ")[0] for text in failures(findings)] == [
        "tokenizer_sha256",
        "latent_actions_sha256",
    ]


def stripped(parent: Path, run: Path) -> tuple[Path, Path, Path]:
    """Three checkpoints of ours in a run's folder, without manifests and without the word that says who wrote them."""
    folders = []
    for ref in three_of_ours(parent):
        folder = run / ref.stage / "checkpoints" / ref.path.name
        shutil.copytree(ref.path, folder)
        (folder / "manifest.json").unlink()
        state = read_state(folder)
        del state["written_by"]
        torch.save({**state, "config": {}}, folder / "state.pt")
        folders.append(folder)
    video, latent, dynamics = folders
    return video, latent, dynamics


@pytest.mark.requirement("C4")
def test_without_manifest_and_recorded_paths_the_lineage_is_unknown_and_does_not_agree(tmp_path: Path) -> None:
    findings = check_agreement(*stripped(tmp_path / "a", tmp_path / "foreign"))
    assert failures(findings) == []
    reasons = [text for _, _, text in findings]
    assert [text for text in reasons if "unknown" in text] == [
        f"dynamics_step_3 has no manifest.json and its config names no {stage}, so what it was trained on is unknown"
        for stage in ("video_tokenizer", "latent_actions")
    ]
    assert agreement_text(reasons) == "sizes agree; the checkpoints that dynamics was trained on are unknown"


@pytest.mark.requirement("C4")
@pytest.mark.parametrize("target", ["embedded", "tinyworlds-fork"])
def test_a_checkpoint_of_a_run_of_ours_needs_its_manifest(target: str, tmp_path: Path) -> None:
    folders = stripped(tmp_path / "a", tmp_path / "run")
    with Journal(tmp_path / "run" / "journal.jsonl") as journal:
        journal.append("run_started", target=target)
    found = failures(check_agreement(*folders))
    assert len(found) == (3 if target == "embedded" else 0)
    assert all("has no manifest.json, so what it was trained on is unknown" in text for text in found)


@pytest.mark.requirement("C4")
def test_only_hashes_show_that_the_lineage_agrees(tmp_path: Path) -> None:
    ours = [text for _, _, text in check_agreement(*three_of_ours(tmp_path))]
    assert agreement_text(ours) == "sizes and lineage agree"
    video, latent, dynamics = (foreign_folder(stage) for stage in FOREIGN_STEPS)
    named = [text for _, _, text in check_agreement(video, latent, dynamics)]
    assert agreement_text(named).endswith("are known by name only, not by SHA-256")
    assert agreement_text([]).endswith("are unknown")


@pytest.mark.requirement("C4")
def test_a_dynamics_checkpoint_that_takes_no_actions_is_reported(tmp_path: Path) -> None:
    video, latent, dynamics = three_of_ours(tmp_path)
    weights = {name: one for name, one in read_model_state(dynamics.path).items() if ".to_gamma_beta." not in name}
    unconditioned = write_checkpoint(
        tmp_path,
        "dynamics",
        60,
        model_state=weights,
        optim_state=optimizer_state(),
        state={"config": read_state(dynamics.path)["config"]},
        manifest={"tokenizer_sha256": video.model_sha256, "latent_actions_sha256": latent.model_sha256},
    )
    (sentence,) = failures(check_agreement(video, latent, unconditioned))
    assert sentence == "dynamics_step_60 takes no actions: it has no action-conditioned layers"


def test_a_fork_s_dynamics_used_with_another_step_of_the_tokenizer_is_reported(tmp_path: Path) -> None:
    video = write_ours(tmp_path, "video_tokenizer", 5)
    sentences = failures(check_agreement(video, foreign_folder("latent_actions"), foreign_folder("dynamics")))
    assert len(sentences) == 1
    assert "was trained on video_tokenizer_step_1099 by its config, but video_tokenizer_step_5 is given" in sentences[0]


def test_a_size_that_the_checkpoints_disagree_about_is_reported(tmp_path: Path) -> None:
    (sentence,) = failures(check_agreement(*three_of_ours(tmp_path, context_length=8)))
    assert "disagree about context_length: video_tokenizer 4, latent_actions 4, dynamics 8" in sentence


def test_a_size_that_the_configs_state_otherwise_is_reported_with_the_fix(tmp_path: Path) -> None:
    (sentence,) = failures(check_agreement(*three_of_ours(tmp_path), {"n_actions": 16}))
    assert sentence == "n_actions is 8 in the checkpoints and 16 in the configs. Set it to 8"


@pytest.mark.requirement("C4")
def test_a_size_that_no_checkpoint_holds_fails_where_the_configs_state_it(tmp_path: Path) -> None:
    video, latent, dynamics = (copy_foreign(tmp_path, stage, optimizer=False) for stage in FOREIGN_STEPS)
    for folder, step in zip((video, latent, dynamics), FOREIGN_STEPS.values(), strict=True):
        torch.save({"step": step}, folder / "state.pt")
    sizes = FORK_SIZES | CODES["dynamics"]
    assert failures(check_agreement(video, latent, dynamics, sizes)) == [
        f"{name} is in none of the checkpoints; configs: {sizes[name]}"
        for name in ("frame_size", "num_heads", "context_length")
    ]
    assert failures(check_agreement(video, latent, dynamics)) == []


@pytest.mark.parametrize(("basis", "bins"), [([1], None), ([1, 4], 4), ([1, 4, 16], 4)])
def test_the_bins_of_a_tokenizer_are_read_where_its_basis_has_them(basis: list[int], bins: int | None) -> None:
    read = sizes_of_weights("video_tokenizer", {"quantizer.basis": torch.tensor(basis)})
    assert read == ({} if bins is None else {"num_bins": (bins, "quantizer.basis[1]")})


@pytest.mark.parametrize(
    ("number", "shown"), [(1, "x0"), (3, "x0, x1, x2"), (4, "x0, x1, x2, …"), (5, "x0, x1, x2, …")]
)
def test_at_most_three_tensors_of_another_model_are_named(number: int, shown: str, tmp_path: Path) -> None:
    weights = {f"x{index}": torch.ones(1) for index in range(number)}
    ref = write_checkpoint(tmp_path, "dynamics", 1, model_state=weights, optim_state=optimizer_state(), state={})
    assert why_unreadable({"dynamics": ref}) == (
        f"dynamics_step_1 is of no TinyWorlds architecture that the embedded reference implements (tensors {shown})"
    )


def test_a_folder_that_is_no_valid_checkpoint_of_its_stage_is_refused() -> None:
    with pytest.raises(CheckpointError, match="is a checkpoint of dynamics; a checkpoint of video_tokenizer is needed"):
        check_agreement(foreign_folder("dynamics"), foreign_folder("latent_actions"), foreign_folder("dynamics"))


OWN_SIZES = {
    "video_tokenizer": {"embed_dim": 32, "num_heads": 2, "hidden_dim": 64, "num_blocks": 1},
    "latent_actions": {"embed_dim": 48, "num_heads": 2, "hidden_dim": 64, "num_blocks": 2},
    "dynamics": {"embed_dim": 64, "num_heads": 4, "hidden_dim": 96, "num_blocks": 3},
}


@pytest.mark.requirement("C2", "C4")
def test_stages_of_different_backbones_agree_where_each_has_its_own_and_the_trusted_models_load(tmp_path: Path) -> None:
    shared = {"frame_size": 16, "patch_size": 4, "latent_dim": 3, "num_bins": 4, "n_actions": 2, "context_length": 4}
    paths = write_untrained(tmp_path, {stage: ModelSizes(**shared, **own) for stage, own in OWN_SIZES.items()})
    video, latent, dynamics = (paths[stage] for stage in OWN_SIZES)
    about_sizes = [text for text in failures(check_agreement(video, latent, dynamics)) if "disagree about" in text]
    assert [text.split(":")[0].split()[-1] for text in about_sizes] == [
        "embed_dim",
        "num_heads",
        "hidden_dim",
        "num_blocks",
    ]
    assert [
        text for text in failures(check_agreement(video, latent, dynamics, backbones=OWN_SIZES)) if "embed_dim" in text
    ] == []
    wrong = {**OWN_SIZES, "dynamics": {**OWN_SIZES["dynamics"], "embed_dim": 32}}
    assert "embed_dim of dynamics is 64 in the checkpoint and 32 in the configs. Set it to 64" in failures(
        check_agreement(video, latent, dynamics, backbones=wrong)
    )
    trained = load_trained(paths)
    assert [trained.sizes[stage].embed_dim for stage in OWN_SIZES] == [32, 48, 64]
