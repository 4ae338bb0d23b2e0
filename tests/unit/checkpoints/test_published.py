"""Published weights are single files: read without running pickled code, and written as checkpoint folders.

pytest tests/unit/checkpoints/test_published.py
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.untrained_checkpoints import write_untrained
from tinyworlds_gate.checkpoints.agreement import check_agreement
from tinyworlds_gate.checkpoints.published import convert_published, published_name, read_published
from tinyworlds_gate.checkpoints.read import read_model_state, read_state
from tinyworlds_gate.checkpoints.resolve import resolve_checkpoint
from tinyworlds_gate.cli.main import main
from tinyworlds_gate.errors import CheckpointError
from tinyworlds_gate.names import STAGES
from tinyworlds_gate.reference.models.sizes import ModelSizes
from tinyworlds_gate.reference.rollout.world_models import load_trained

SIZES = ModelSizes(
    frame_size=16,
    patch_size=4,
    embed_dim=32,
    num_heads=2,
    hidden_dim=64,
    num_blocks=1,
    latent_dim=3,
    num_bins=4,
    n_actions=2,
    context_length=4,
)
NAMES = {stage: f"sonic_{stage}_step_{step}_2025_09_20_01_02_03.pth" for step, stage in enumerate(STAGES, 100)}


def publish(tmp_path: Path, **changes: Any) -> dict[str, Path]:
    """Write a single file per stage, as TinyWorlds published them."""
    files = {}
    for number, (stage, folder) in enumerate(write_untrained(tmp_path / "run", SIZES).items(), 100):
        content = {
            "model": {f"_orig_mod.{name}": tensor for name, tensor in read_model_state(folder).items()},
            "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 1e-3}]},
            "scheduler_state_dict": {"base_lrs": [1e-3]},
            "config": {
                **read_state(folder)["config"],
                "video_tokenizer_path": f"results/x/checkpoints/{NAMES['video_tokenizer']}",
            },
            "step": number,
            "timestamp": "2025_09_20_01_02_03",
            **changes,
        }
        files[stage] = tmp_path / "weights" / NAMES[stage]
        files[stage].parent.mkdir(exist_ok=True)
        torch.save(content, files[stage])
    return files


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sonic_video_tokenizer_step_27500_2025_09_20.pth", ("video_tokenizer", 27500)),
        ("dynamics_checkpoint_2025_09_15.pth", ("dynamics", None)),
        ("zelda_action_tokenizer_step_9.pth", ("latent_actions", 9)),
        ("lam_step_3.pt", ("latent_actions", 3)),
        ("dynamics_step_3", None),
        ("model.pth", None),
    ],
)
def test_a_name_gives_stage_and_step(name: str, expected: tuple[str, int | None] | None) -> None:
    assert published_name(name) == expected


@pytest.mark.requirement("C4")
def test_single_files_resolve_to_checkpoints_that_load_and_agree(tmp_path: Path) -> None:
    files = publish(tmp_path)
    references = {stage: resolve_checkpoint(file, stage, require_optimizer=False) for stage, file in files.items()}
    assert [reference.path.name for reference in references.values()] == [
        "video_tokenizer_step_100",
        "latent_actions_step_101",
        "dynamics_step_102",
    ]
    assert references["dynamics"].manifest is None
    load_trained({stage: reference.path for stage, reference in references.items()})
    findings = check_agreement(references["video_tokenizer"], references["latent_actions"], references["dynamics"])
    assert [text for _, holds, text in findings if not holds] == []
    again = resolve_checkpoint(files["dynamics"], "dynamics", require_optimizer=False)
    assert again == references["dynamics"], "it is written once"


def test_a_folder_of_single_files_gives_the_newest_of_the_stage(tmp_path: Path) -> None:
    newest = publish(tmp_path)["dynamics"]
    older = newest.with_name("sonic_dynamics_step_7_2025.pth")
    torch.save({**torch.load(newest), "step": 7}, older)
    assert resolve_checkpoint(newest.parent, "dynamics", require_optimizer=False).step == 102
    with pytest.raises(CheckpointError, match=r"is a checkpoint of dynamics; a checkpoint of latent_actions is needed"):
        resolve_checkpoint(older, "latent_actions", require_optimizer=False)


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    files = publish(tmp_path, config=Hostile())
    with pytest.raises(CheckpointError, match=r"is refused: its pickle names .*mkdir.* Nothing was executed"):
        resolve_checkpoint(files["dynamics"], "dynamics", require_optimizer=False)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"weights": {}, 3: 1}, r"holds no `model` with named tensors \(found: weights, 3\); give the weights"),
        ({"model": {}}, r"holds no `model` with named tensors \(found: model\)"),
        ({"model": [torch.ones(2)]}, r"holds no `model` with named tensors \(found: model\)"),
        ([torch.ones(2)], r"holds no `model` with named tensors \(found: list\)"),
        ({"model": {"a": torch.ones(2)}}, "no TinyWorlds model; allowed: video_tokenizer, latent_actions, dynamics"),
    ],
)
def test_a_file_without_a_model_is_named(tmp_path: Path, content: object, said: str) -> None:
    torch.save(content, tmp_path / "dynamics_step_1.pth")
    with pytest.raises(CheckpointError, match=said):
        convert_published(tmp_path / "dynamics_step_1.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("recorded", "step"), [(7, 7), (0, 0), (None, 102), (True, 102), ("7", 102)])
def test_the_step_is_the_file_s_own_and_otherwise_its_name_s(tmp_path: Path, recorded: object, step: int) -> None:
    file = publish(tmp_path, step=recorded)["dynamics"]
    published = read_published(file)
    assert (published.stage, published.step, published.state["step"]) == ("dynamics", step, step)
    unnamed = file.rename(tmp_path / "model.pth")
    assert read_published(unnamed).step == (step if step != 102 else 0)


@pytest.mark.parametrize(("optimizer", "has_one"), [({"state": {}, "param_groups": []}, True), (None, False)])
def test_an_optimizer_is_written_where_the_file_has_one(tmp_path: Path, optimizer: object, has_one: bool) -> None:
    file = publish(tmp_path, optimizer_state_dict=optimizer)["dynamics"]
    converted = convert_published(file, tmp_path / "out")
    assert (converted.path / "optim_state_dict.pt").is_file() is has_one
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dynamics_step_102"], "no temporary folder is left"


def test_a_folder_that_cannot_be_written_names_the_command_for_another_one(tmp_path: Path) -> None:
    file = publish(tmp_path)["dynamics"]
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CheckpointError) as error:
        convert_published(file, tmp_path / "out")
    assert str(error.value) == (
        f"{tmp_path / 'out' / 'dynamics_step_102'} was not written: File exists. Convert {file} into another folder "
        "with `tinyworlds-gate convert FILE --to FOLDER`, and give that one"
    )


def test_the_command_writes_the_layout_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path)
    assert main(["convert", str(tmp_path / "weights"), "--to", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/dynamics/checkpoints/dynamics_step_102/model_state_dict.pt").is_file()
    assert len(capsys.readouterr().out.splitlines()) == len(STAGES)
    (tmp_path / "empty").mkdir()
    assert main(["convert", str(tmp_path / "empty")]) == 2
    assert "holds no .pth or .pt file" in capsys.readouterr().err
